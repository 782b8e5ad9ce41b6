// The Node client of the guides, and what applications do with it.
const assert = require("node:assert");
const {
  S3Client, CopyObjectCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command,
  PutObjectCommand, CreateMultipartUploadCommand, UploadPartCommand, CompleteMultipartUploadCommand,
} = require("@aws-sdk/client-s3");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");

const clients = new Map();
function s3ClientFor(endpoint, keyId, secret) {
  if (!clients.has(endpoint)) {
    clients.set(endpoint, new S3Client({
      endpoint,
      region: "us-east-1",
      credentials: { accessKeyId: keyId, secretAccessKey: secret },
      forcePathStyle: true,
    }));
  }
  return clients.get(endpoint);
}

const s3 = s3ClientFor(process.env.FB_S3_ENDPOINT, process.env.FB_KEY_ID, process.env.FB_KEY_SECRET);
const Bucket = process.env.BUCKET;
const text = async (Key, bucket = Bucket) => {
  const got = await s3.send(new GetObjectCommand({ Bucket: bucket, Key }));
  return got.Body.transformToString();
};

async function write() {
  const Metadata = { a: "b" };
  await s3.send(new PutObjectCommand({ Bucket, Key: "hello.txt", Body: "hi", ContentType: "text/plain", Metadata }));
  const Key = "large.bin";
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }));
  const Parts = [];
  for (const [PartNumber, Body] of [[1, Buffer.alloc(5 << 20, 1)], [2, Buffer.from("end")]]) {
    const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
    Parts.push({ ETag, PartNumber });
  }
  await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
}

async function read() {
  assert.equal(await text("hello.txt"), "hi");
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: "hello.txt" }));
  assert.equal(head.ContentType, "text/plain");
  assert.equal(head.Metadata.a, "b");
  const large = await s3.send(new GetObjectCommand({ Bucket, Key: "large.bin", Range: "bytes=-4" }));
  assert.equal(await large.Body.transformToString(), "\u0001end");
  const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "hello.txt" }), { expiresIn: 60 });
  assert.equal(await (await fetch(url)).text(), "hi");
}

async function rest() {
  // The mirror of the guides: from one member to another, by their names.
  const [hot, cold] = ["bucket-0", "bucket-1"];
  const key = "b c+d/é";
  await s3.send(new PutObjectCommand({ Bucket: hot, Key: key, Body: "x" }));
  const CopySource = `/${hot}/${encodeURIComponent(key)}`;
  await s3.send(new CopyObjectCommand({ Bucket: cold, Key: key, CopySource }));
  assert.equal(await text(key, cold), "x");
  const listed = await s3.send(new ListObjectsV2Command({ Bucket, Delimiter: "/" }));
  assert.deepEqual(listed.Contents.map((it) => it.Key), ["hello.txt", "large.bin"]);
  assert.deepEqual(listed.CommonPrefixes.map((it) => it.Prefix), ["b c+d/"]);
  const Objects = ["hello.txt", "large.bin", key].map((Key) => ({ Key }));
  const deleted = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  assert.equal(deleted.Errors, undefined);
  await assert.rejects(text("hello.txt"), { name: "NoSuchKey" });
}

({ write, read, rest })[process.argv[2]]().catch((error) => {
  console.error(error);
  process.exit(1);
});

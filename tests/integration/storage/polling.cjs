// The polling clients of the guides, with names adapted: the address of the API, the repository and its buckets.
// Prints what they choose.

const BASE = process.env.STORAGE_API;
const H = { Accept: "application/json", Authorization: `Bearer ${process.env.FB_JWT}` };

// Latency-aware routing, step 4.
async function listNodes() {
  const r = await fetch(`${BASE}/node`, { headers: H });
  return r.json(); // includes node metadata for routing tables
}

async function nodeMinuteStats(bucketId) {
  const url = new URL(`${BASE}/stats/nodes/minute`);
  if (bucketId) url.searchParams.set("bucketId", bucketId);
  const r = await fetch(url, { headers: H });
  return r.json(); // includes per-node minute latency/ops
}

// Step 5; the guide leaves these two to the reader.
function merge(nodes, stats) {
  return nodes.data.map((node) => {
    const seen = stats.data.filter((it) => it.nodeId === node.nodeId).at(-1);
    return { ...node, status: node.state, latency: seen?.latency_ms ?? Number.POSITIVE_INFINITY };
  });
}

function rankByLatency(nodes) {
  return [...nodes].sort((a, b) => a.latency - b.latency);
}

const CACHE_TTL_MS = 60_000;
let cache = { endpoint: "", expires: 0 };

async function pickEndpointFor(bucketId) {
  const now = Date.now();
  if (cache.endpoint && cache.expires > now) return cache.endpoint;

  const nodes = await listNodes();                      // seed candidates
  const stats = await nodeMinuteStats(bucketId);        // recent latency/availability

  // Rank Online nodes by recent latency; fall back to others if needed
  const online = rankByLatency(merge(nodes, stats)).filter((n) => n.status === "Online");
  const chosen = online[0] ?? rankByLatency(merge(nodes, stats))[0];
  cache = { endpoint: chosen.url, expires: now + CACHE_TTL_MS };
  return cache.endpoint;
}

// Credit-aware storage, section 6.
async function getRepoStats(repoId) {
  const url = repoId ? `${BASE}/repo/stats?repoId=${repoId}` : `${BASE}/repo/stats`;
  const r = await fetch(url, { headers: H });
  if (!r.ok) throw new Error(`repo stats: ${r.status}`);
  return r.json();
}
async function getBucketStats(bucketId) {
  const url = bucketId ? `${BASE}/bucket/stats?bucketId=${bucketId}` : `${BASE}/bucket/stats`;
  const r = await fetch(url, { headers: H });
  if (!r.ok) throw new Error(`bucket stats: ${r.status}`);
  return r.json();
}
async function getDailyStats() {
  const r = await fetch(`${BASE}/stats/daily`, { headers: H });
  if (!r.ok) throw new Error(`daily stats: ${r.status}`);
  return r.json();
}
async function getMinuteStats() {
  const r = await fetch(`${BASE}/stats/minute`, { headers: H });
  if (!r.ok) throw new Error(`minute stats: ${r.status}`);
  return r.json();
}

const ORDER = ["bucket-0", "bucket-1"]; // preference order
const SOFT_CAPS = { "bucket-0": 0.8, "bucket-1": 1.0 };

async function chooseWriteBucket(repoId) {
  const stats = await getRepoStats(repoId);
  const buckets = stats?.data?.[0]?.buckets ?? {};
  for (const name of ORDER) {
    const used = buckets[name]?.used_bytes ?? 0;
    const limit = buckets[name]?.soft_limit_bytes ?? Number.POSITIVE_INFINITY;
    if (used < SOFT_CAPS[name] * limit) return name;
  }
  return ORDER[ORDER.length - 1];
}

async function main() {
  const repository = process.env.FB_REPO_ID;
  const endpoint = await pickEndpointFor("bucket-0");
  const write = await chooseWriteBucket(repository);
  const buckets = await getBucketStats("bucket-0");
  const [daily, minute] = [await getDailyStats(), await getMinuteStats()];
  const uploaded = buckets.data[0].totalUploadBytes;
  console.log(JSON.stringify({ endpoint, write, uploaded, daily: daily.data.length, minute: minute.data.length }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

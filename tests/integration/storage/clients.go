// The Go client of the guides, and what applications do with it.
package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

var (
	ctx    = context.Background()
	bucket = aws.String(os.Getenv("BUCKET"))
	large  = bytes.Repeat([]byte("0123456789abcdef"), 20<<16) // 20 MiB: it is uploaded in parts
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func expect(holds bool, what string) {
	if !holds {
		log.Fatal(what)
	}
}

func put(client *s3.Client, key string, body string) {
	_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String(key), Body: strings.NewReader(body)})
	must(err)
}

func get(client *s3.Client, key string) []byte {
	got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String(key)})
	must(err)
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	must(err)
	return body
}

func write(client *s3.Client) {
	put(client, "hello.txt", "hi")
	_, err := manager.NewUploader(client).Upload(ctx, &s3.PutObjectInput{
		Bucket: bucket, Key: aws.String("large.bin"), Body: bytes.NewReader(large),
	})
	must(err)
	for _, key := range []string{"a/1", "a/2", "b c+d/é"} {
		put(client, key, key)
	}
}

func read(client *s3.Client) {
	expect(string(get(client, "hello.txt")) == "hi", "another body")
	expect(bytes.Equal(get(client, "large.bin"), large), "another large body")
	signed, err := s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("hello.txt")})
	must(err)
	response, err := http.Get(signed.URL)
	must(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(err)
	expect(response.StatusCode == 200 && string(body) == "hi", "the URL gives "+string(body))
}

func rest(client *s3.Client) {
	listed, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Delimiter: aws.String("/")})
	must(err)
	expect(len(listed.Contents) == 2 && len(listed.CommonPrefixes) == 2, "another list")
	_, err = client.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: bucket, Key: aws.String("copied.bin"), CopySource: aws.String(*bucket + "/large.bin"),
	})
	must(err)
	expect(bytes.Equal(get(client, "copied.bin"), large), "another copy")
	var gone []types.ObjectIdentifier
	for _, key := range []string{"hello.txt", "large.bin", "a/1", "a/2", "b c+d/é", "copied.bin", "never-there"} {
		gone = append(gone, types.ObjectIdentifier{Key: aws.String(key)})
	}
	deleted, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: gone}})
	must(err)
	expect(len(deleted.Errors) == 0, "an object was not deleted")
	_, err = client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("hello.txt")})
	expect(err != nil && strings.Contains(err.Error(), "NoSuchKey"), "it is still there")
}

func main() {
	client := s3.New(s3.Options{
		Region:           "us-east-1",
		Credentials:      credentials.NewStaticCredentialsProvider(os.Getenv("FB_KEY_ID"), os.Getenv("FB_KEY_SECRET"), ""),
		EndpointResolver: s3.EndpointResolverFromURL(os.Getenv("FB_S3_ENDPOINT")),
		UsePathStyle:     true,
	})
	map[string]func(*s3.Client){"write": write, "read": read, "rest": rest}[os.Args[1]](client)
}

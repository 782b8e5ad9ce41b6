# Object storage in one region (docs/storage.md): a bucket, and the name and load balancer of the S3 listener.
# Which tasks answer behind it, and what they may do, is in modules/gateway (storage.tf).

data "aws_region" "current" {}

data "aws_partition" "current" {}

locals {
  # As clients know it; the provider is in it because other providers' regions may get listeners, too.
  host = "s3-${data.aws_region.current.name}-aws.${var.domain_name}"
}

# Copies lie under names of the gateway's own, which are never written twice: versions of them would only
# cost. The index says which are the newest.
resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:The gateways log each read with its client; the bucket's own log would name the gateways alone
  #checkov:skip=CKV_AWS_21:No name is written twice; what was deleted must be gone
  #checkov:skip=CKV_AWS_144:Repositories keep copies in other regions and at other providers
  #checkov:skip=CKV2_AWS_62:Nothing waits for an object
  bucket = "${var.name}-storage-${data.aws_region.current.name}-${var.account_id}"

  # A bucket with anything in it cannot be deleted otherwise.
  force_destroy = !var.protected
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

# Of an upload whose beginning was not acknowledged, no gateway knows the id.
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "abort"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 8
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = data.aws_iam_policy_document.bucket.json

  depends_on = [aws_s3_bucket_public_access_block.this]
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

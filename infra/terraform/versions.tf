# Pinned exactly, and no .terraform.lock.hcl beside it: a lock file made from a local plugin directory
# knows the checksum of one platform only and would turn every other away. infra/README.md says how to
# make a complete one for a deployment.
terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # Bucket, key and region come from `terraform init -backend-config=…` (see infra/README.md).
  backend "s3" {}
}

# Object storage in all regions: what they share. What each region has for it: storage_region.tftest.hcl.

mock_provider "aws" {
  alias           = "us_east_1"
  source          = "./tests/mocks/us-east-1"
  override_during = plan
}

mock_provider "aws" {
  alias           = "eu_west_1"
  source          = "./tests/mocks/eu-west-1"
  override_during = plan
}

mock_provider "aws" {
  alias           = "ap_southeast_1"
  source          = "./tests/mocks/ap-southeast-1"
  override_during = plan
}

# See regions.tftest.hcl.
provider "aws" {
  alias                       = "secrets"
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  account_id   = "000000000000"
  environment  = "test"
  domain_name  = "api.example.com"
  zone_id      = "Z0TEST"
  image_digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  jwks_url     = "https://login.example.com/jwks"
}

run "there_is_no_object_storage_unless_it_is_asked_for" {
  command = plan

  assert {
    condition = alltrue([
      for deployed in local.deployed : deployed.storage == null &&
      length(setintersection(concat(keys(deployed.gateway.environment), keys(deployed.gateway.secrets)), ["STORAGE_ADDR", "STORAGE_MASTER_KEY"])) == 0
    ]) && length(aws_secretsmanager_secret.storage_master_key) == 0 && output.storage == null
    error_message = "Without var.storage nothing of object storage is made."
  }
}

run "an_empty_setting_gives_every_region_a_listener_and_a_bucket" {
  command = plan

  variables {
    storage = {}
  }

  assert {
    condition = { for region, storage in output.storage : region => storage.host } == {
      for region in ["us-east-1", "eu-west-1", "ap-southeast-1"] : region => "s3-${region}-aws.api.example.com"
    }
    error_message = "The name of each region's listener, as /node answers it."
  }

  assert {
    condition = { for region, storage in output.storage : region => storage.bucket } == {
      for region in ["us-east-1", "eu-west-1", "ap-southeast-1"] : region => "tidegate-storage-${region}-000000000000"
    }
    error_message = "Every region has a bucket."
  }

  assert {
    condition     = toset(local.common.storage.bucket_arns) == toset([for storage in output.storage : "arn:aws:s3:::${storage.bucket}"])
    error_message = "The tasks of every region may use the buckets that there are, in all regions."
  }

  assert {
    condition = alltrue([
      for region, deployed in local.deployed :
      deployed.gateway.secrets.STORAGE_MASTER_KEY == replace(local.secret_arns["us-east-1"].STORAGE_MASTER_KEY, ":us-east-1:", ":${region}:") &&
      deployed.gateway.environment.STORAGE_ADDR == "0.0.0.0:9000"
    ]) && toset([for replica in aws_secretsmanager_secret.storage_master_key[0].replica : replica.region]) == toset(["eu-west-1", "ap-southeast-1"])
    error_message = "Every region opens what is sealed with a copy of the same master key."
  }

  assert {
    condition     = length(local.secret_versions) == 4
    error_message = "No task starts before the master key is stored."
  }
}

run "a_disk_that_fargate_does_not_have_is_refused" {
  command = plan

  variables {
    storage = { spool_gib = 20 }
  }

  expect_failures = [var.storage]
}

run "clients_that_are_no_range_are_refused" {
  command = plan

  variables {
    storage = { client_cidrs = ["everyone"] }
  }

  expect_failures = [var.storage]
}

# One alias per region. There is no default provider on purpose: a resource that names none would land
# in whatever region the shell has set, and tests/infra/regions.mjs refuses it.

provider "aws" {
  alias               = "us_east_1"
  region              = "us-east-1"
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = local.tags
  }
}

provider "aws" {
  alias               = "eu_west_1"
  region              = "eu-west-1"
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = local.tags
  }
}

provider "aws" {
  alias               = "ap_southeast_1"
  region              = "ap-southeast-1"
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = local.tags
  }
}

# Secrets are kept in the home region. An alias of its own, because terraform test must leave the
# provider of ephemeral resources unmocked: a mocked one refuses them even where none is opened.
provider "aws" {
  alias               = "secrets"
  region              = "us-east-1"
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = local.tags
  }
}

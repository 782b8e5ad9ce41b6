# The gateways of all regions as a fleet: what they share. What each region has for it: fleet_region.tftest.hcl.

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

run "regions_are_no_fleet_unless_it_is_asked_for" {
  command = plan

  assert {
    condition = alltrue([
      for deployed in local.deployed : deployed.fleet == null && deployed.gateway.fleet == null && deployed.gateway.count_max == 10 &&
      length(setintersection(keys(deployed.gateway.environment), ["FLEET_ADDR", "TIDEGATE_CONFIG"])) == 0
    ]) && length(aws_route53_zone_association.fleet) == 0
    error_message = "Without var.fleet nothing of a fleet is made."
  }
}

run "an_empty_setting_makes_all_regions_one_fleet" {
  command = plan

  variables {
    fleet = {}
  }

  assert {
    condition = { for region, deployed in local.deployed : region => deployed.fleet.host } == {
      us-east-1      = "gateways.us-east-1.tidegate.internal"
      eu-west-1      = "gateways.eu-west-1.tidegate.internal"
      ap-southeast-1 = "gateways.ap-southeast-1.tidegate.internal"
    }
    error_message = "Each region has one name for all its gateways."
  }

  assert {
    condition     = alltrue([for deployed in local.deployed : deployed.gateway.count_max == 8])
    error_message = "A region has no more gateways than its name has addresses."
  }

  assert {
    condition     = { for region, deployed in local.deployed : region => deployed.fleet.host } == local.fleet_host
    error_message = "Gateways ask for the names that the regions have."
  }

  assert {
    condition = { for pair, made in aws_route53_zone_association.fleet : pair => "${made.zone_id} ${made.vpc_id} ${made.vpc_region}" } == {
      for pair in [
        ["us-east-1", "eu-west-1"], ["us-east-1", "ap-southeast-1"], ["eu-west-1", "us-east-1"],
        ["eu-west-1", "ap-southeast-1"], ["ap-southeast-1", "us-east-1"], ["ap-southeast-1", "eu-west-1"],
      ] : "${pair[0]} in ${pair[1]}" => "Z-${pair[0]} vpc-${pair[1]} ${pair[1]}"
    }
    error_message = "Each region's name is known in the networks of all others."
  }

  assert {
    condition = alltrue([
      for deployed in local.deployed :
      jsonencode(regexall("\\[\\[fleet.peers\\]\\]\nregion = \"(.*)\"\naddress = \"(.*)\"", deployed.gateway.fleet)) ==
      jsonencode([for region in ["ap-southeast-1", "eu-west-1", "us-east-1"] : [region, "gateways.${region}.tidegate.internal:8443"]])
    ])
    error_message = "Every gateway knows the gateways of all regions, its own siblings too."
  }

  assert {
    condition = alltrue([
      for region, deployed in local.deployed :
      contains(jsondecode(regex("trusted_proxies = (.*)\n", deployed.gateway.fleet)[0]), var.regions[region].vpc_cidr)
    ])
    error_message = "Every gateway believes the load balancer in its own network about clients."
  }

  assert {
    condition = alltrue([
      for region, deployed in local.deployed :
      deployed.gateway.secrets.TOKEN_SECRET == replace(local.secret_arns["us-east-1"].TOKEN_SECRET, ":us-east-1:", ":${region}:")
    ]) && length(distinct([for deployed in local.deployed : reverse(split(":", deployed.gateway.secrets.TOKEN_SECRET))[0]])) == 1
    error_message = "A fleet needs one TOKEN_SECRET: every region has a copy of the same secret."
  }
}

run "a_fleet_of_more_gateways_than_its_name_has_addresses_is_refused" {
  command = plan

  variables {
    fleet = {}
    regions = {
      us-east-1      = { vpc_cidr = "10.10.0.0/16", task_count_max = 9 }
      eu-west-1      = { vpc_cidr = "10.20.0.0/16" }
      ap-southeast-1 = { vpc_cidr = "10.30.0.0/16" }
    }
  }

  expect_failures = [var.fleet]
}

run "a_key_that_is_none_is_refused" {
  command = plan

  variables {
    fleet = { trusted_keys = ["key"] }
  }

  expect_failures = [var.fleet]
}

run "an_agent_by_tag_is_refused" {
  command = plan

  variables {
    fleet = { agent_image = "registry.test/agent:latest" }
  }

  expect_failures = [var.fleet]
}

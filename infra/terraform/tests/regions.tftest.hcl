# Section 8 of the design between the regions: routing and health checks, replicas, secrets, alarms, and
# that everything regional is in its region.

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

# Mocked providers refuse ephemeral resources even where none is opened, so theirs is a real one that
# never connects: account 000000000000 makes secrets.tf open none.
provider "aws" {
  alias                       = "secrets"
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_resource {
  target          = aws_route53_health_check.region["us-east-1"]
  override_during = plan
  values          = { id = "check-us-east-1" }
}

override_resource {
  target          = aws_route53_health_check.region["eu-west-1"]
  override_during = plan
  values          = { id = "check-eu-west-1" }
}

override_resource {
  target          = aws_route53_health_check.region["ap-southeast-1"]
  override_during = plan
  values          = { id = "check-ap-southeast-1" }
}

variables {
  account_id   = "000000000000"
  environment  = "test"
  domain_name  = "api.example.com"
  zone_id      = "Z0TEST"
  image_digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  jwks_url     = "https://login.example.com/jwks"
}
run "regions" {
  command = plan

  # --- Each region's record has its own health check, on its own host, at /health/edge. ---

  assert {
    condition     = toset(keys(aws_route53_health_check.region)) == toset(["us-east-1", "eu-west-1", "ap-southeast-1"])
    error_message = "Three regions, three health checks."
  }

  assert {
    condition = alltrue([
      for region, check in aws_route53_health_check.region : check.fqdn == "${region}.origin.api.example.com"
    ])
    error_message = "A health check must ask its region's own host, never the latency name."
  }

  assert {
    condition = alltrue([
      for check in aws_route53_health_check.region :
      check.type == "HTTPS" && check.port == 443 && check.resource_path == "/health/edge" && check.enable_sni
    ])
    error_message = "Health checks ask for /health/edge by HTTPS with SNI."
  }

  assert {
    condition = alltrue([
      for check in aws_route53_health_check.region : check.request_interval == 10 && check.failure_threshold == 3
    ])
    error_message = "Health checks run every 10 s and fail after three."
  }

  assert {
    condition = alltrue([
      for check in aws_route53_health_check.region : check.invert_healthcheck != true && check.disabled != true
    ])
    error_message = "Health checks count, and count the right way round."
  }

  assert {
    condition = alltrue([
      for region, record in merge(
        { for region, record in aws_route53_record.latency_ipv4 : "${region} A" => record },
        { for region, record in aws_route53_record.latency_ipv6 : "${region} AAAA" => record },
        ) : (
        record.name == "origin.api.example.com" &&
        record.type == split(" ", region)[1] &&
        record.set_identifier == split(" ", region)[0] &&
        one(record.latency_routing_policy).region == split(" ", region)[0] &&
        record.health_check_id == "check-${split(" ", region)[0]}" &&
        one(record.alias).name == "${split(" ", region)[0]}.elb.test"
      )
    ])
    error_message = "Every latency record leads to its own region's load balancer under its own health check."
  }

  assert {
    condition     = length(aws_route53_record.latency_ipv4) == 3 && length(aws_route53_record.latency_ipv6) == 3
    error_message = "Every region has a latency record of both families."
  }

  assert {
    condition = alltrue([
      for region in ["us-east-1", "eu-west-1", "ap-southeast-1"] : alltrue([
        for record in [aws_route53_record.own_ipv4[region], aws_route53_record.own_ipv6[region]] :
        record.name == "${region}.origin.api.example.com" && one(record.alias).name == "${region}.elb.test" && length(record.latency_routing_policy) == 0
      ]) && aws_route53_record.own_ipv4[region].type == "A" && aws_route53_record.own_ipv6[region].type == "AAAA"
    ])
    error_message = "Every region's own host leads to that region, always."
  }

  # --- Every regional resource is in its region (tests/infra/regions.mjs reads the rest). ---

  assert {
    condition = alltrue([
      for region, deployed in local.deployed : (
        deployed.region == region &&
        strcontains(deployed.origin.alb.arn, ":${region}:") &&
        strcontains(deployed.kms_key_arn, ":${region}:") &&
        strcontains(deployed.alarm_topic_arn, ":${region}:") &&
        deployed.network.vpc_id == "vpc-${region}" &&
        deployed.gateway.environment.REGION == region &&
        startswith(deployed.gateway.image, "000000000000.dkr.ecr.${region}.amazonaws.com/tidegate@sha256:")
      )
    ])
    error_message = "A module call and its provider disagree about the region."
  }

  # --- Replicas. ---

  assert {
    condition     = local.deployed["us-east-1"].database.replicates_from == null
    error_message = "The primary replicates from nothing."
  }

  assert {
    condition = alltrue([
      for region in ["eu-west-1", "ap-southeast-1"] :
      local.deployed[region].database.replicates_from == "arn:aws:rds:us-east-1:000000000000:db:tidegate-us-east-1"
    ])
    error_message = "Cross-region replicas name the primary by its ARN."
  }

  assert {
    condition = alltrue([
      for region, deployed in local.deployed : strcontains(deployed.database.kms_key_arn, ":kms:${region}:")
    ])
    error_message = "Every database is encrypted under a key of its own region."
  }

  assert {
    condition     = toset(local.common.gateway_cidrs) == toset(["10.10.64.0/18", "10.20.64.0/18", "10.30.64.0/18"])
    error_message = "Databases admit the gateway tasks' quarter of each network, and nothing else."
  }

  # --- Peering: every region reaches every other's database, whoever is the primary. ---

  assert {
    condition = { for name, peered in {
      eu_us = module.peering_eu_us.peered, ap_us = module.peering_ap_us.peered, ap_eu = module.peering_ap_eu.peered,
      } : name => "${peered.requester_vpc} ${peered.accepter_vpc} ${peered.accepter_region}" } == {
      eu_us = "vpc-eu-west-1 vpc-us-east-1 us-east-1"
      ap_us = "vpc-ap-southeast-1 vpc-us-east-1 us-east-1"
      ap_eu = "vpc-ap-southeast-1 vpc-eu-west-1 eu-west-1"
    }
    error_message = "Every pair of regions is connected."
  }

  assert {
    condition = alltrue([
      for peering in [
        { peered = module.peering_eu_us.peered, requester = "10.20.0.0/16", accepter = "10.10.0.0/16" },
        { peered = module.peering_ap_us.peered, requester = "10.30.0.0/16", accepter = "10.10.0.0/16" },
        { peered = module.peering_ap_eu.peered, requester = "10.30.0.0/16", accepter = "10.20.0.0/16" },
        ] : (
        peering.peered.requester_routes == { private-0 = peering.accepter, private-1 = peering.accepter, database = peering.accepter } &&
        peering.peered.accepter_routes == { private-0 = peering.requester, private-1 = peering.requester, database = peering.requester }
      )
    ])
    error_message = "Both sides of every connection have routes to the other."
  }

  # --- Secrets. ---

  assert {
    condition = alltrue([
      for region, deployed in local.deployed : alltrue([
        for arn in values(deployed.gateway.secrets) : strcontains(arn, ":secretsmanager:${region}:")
      ])
    ])
    error_message = "Tasks read their secrets in their own region."
  }

  # The mocks give a version another ARN than its secret, which AWS does not; it shows what is named.
  assert {
    condition = alltrue(flatten([
      for deployed in local.deployed : [for arn in values(deployed.gateway.secrets) : endswith(arn, ":secret:s")]
    ])) && aws_secretsmanager_secret_version.database_url.arn != aws_secretsmanager_secret.database_url.arn
    error_message = "Task definitions name secrets, not versions: a new version would replace them before the database knows its password."
  }

  assert {
    condition     = local.app_role == "tidegate_a"
    error_message = "Odd generations of the password are tidegate_a's."
  }

  assert {
    condition = (
      toset(keys(local.deployed["us-east-1"].gateway.secrets)) == toset(["DATABASE_URL", "TOKEN_SECRET", "ADMIN_TOKEN"]) &&
      toset(keys(local.deployed["eu-west-1"].gateway.secrets)) == toset(["DATABASE_URL", "TOKEN_SECRET", "ADMIN_TOKEN", "DATABASE_READ_REPLICA_URL"]) &&
      toset(keys(local.deployed["ap-southeast-1"].gateway.secrets)) == toset(["DATABASE_URL", "TOKEN_SECRET", "ADMIN_TOKEN", "DATABASE_READ_REPLICA_URL"])
    )
    error_message = "Every gateway has the primary, the token secret and the admin listener's token, those beside a replica its URL too."
  }

  assert {
    condition = alltrue([
      for secret in [aws_secretsmanager_secret.token, aws_secretsmanager_secret.admin_token, aws_secretsmanager_secret.database_url] : (
        toset([for copy in secret.replica : copy.region]) == toset(["eu-west-1", "ap-southeast-1"]) &&
        alltrue([for copy in secret.replica : strcontains(copy.kms_key_id, ":kms:${copy.region}:")])
      )
    ])
    error_message = "Shared secrets are copied to every other region, each copy under that region's key."
  }

  assert {
    condition = alltrue([
      for secret in [aws_secretsmanager_secret.token, aws_secretsmanager_secret.admin_token, aws_secretsmanager_secret.database_url] :
      secret.recovery_window_in_days == 30 && secret.force_overwrite_replica_secret
    ]) && !aws_ecr_repository.gateway.force_delete
    error_message = "Protected secrets can be recovered, copies made independent become copies again, the registry is not emptied."
  }

  assert {
    condition     = length(local.origin_secrets) == 2
    error_message = "Load balancers accept two origin secrets."
  }

  assert {
    condition = alltrue([
      for deployed in local.deployed : deployed.gateway.environment.AUTH_JWKS_URL == "https://login.example.com/jwks" &&
      !contains(keys(deployed.gateway.environment), "AUTH_JWT_AUDIENCE") && !contains(keys(deployed.gateway.environment), "AUTH_JWT_SECRET")
    ])
    error_message = "JWTs are checked by JWKS; unset settings are left out."
  }

  assert {
    condition     = [for region, deployed in local.deployed : region if deployed.gateway.migrates] == ["us-east-1"]
    error_message = "Only the home region can migrate."
  }

  assert {
    condition     = aws_ecr_repository.gateway.image_tag_mutability == "IMMUTABLE"
    error_message = "A tag, once pushed, must not change."
  }

  assert {
    condition = toset([
      for destination in one(aws_ecr_replication_configuration.gateway.replication_configuration).rule[0].destination : destination.region
    ]) == toset(["eu-west-1", "ap-southeast-1"])
    error_message = "The image is copied to every other region."
  }

  # --- Alarms about what is global. ---

  assert {
    condition = alltrue([
      for region, alarm in aws_cloudwatch_metric_alarm.health_check :
      alarm.dimensions.HealthCheckId == "check-${region}" && alarm.comparison_operator == "LessThanThreshold" && alarm.threshold == 1
    ]) && length(aws_cloudwatch_metric_alarm.health_check) == 3
    error_message = "Every health check has an alarm of its own."
  }

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.health_check), [
        aws_cloudwatch_metric_alarm.edge_5xx, aws_cloudwatch_metric_alarm.viewer_certificate,
      ]) : tolist(alarm.alarm_actions) == tolist(["arn:aws:sns:us-east-1:000000000000:tidegate-alarms"])
    ])
    error_message = "Global alarms notify the topic in us-east-1, where their metrics are."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.edge_5xx.metric_name == "5xxErrorRate" &&
      aws_cloudwatch_metric_alarm.edge_5xx.comparison_operator == "GreaterThanThreshold" &&
      aws_cloudwatch_metric_alarm.edge_5xx.threshold == 1 &&
      aws_cloudwatch_metric_alarm.viewer_certificate.comparison_operator == "LessThanThreshold" &&
      aws_cloudwatch_metric_alarm.viewer_certificate.metric_name == "DaysToExpiry" &&
      aws_cloudwatch_metric_alarm.viewer_certificate.threshold >= 14
    )
    error_message = "CloudFront's errors and its certificate are watched."
  }
}

run "a_promoted_replica_is_the_primary_everywhere" {
  command = plan

  variables {
    primary_region          = "eu-west-1"
    database_url_generation = 2
  }

  assert {
    condition     = local.primary_host == "tidegate.eu-west-1.rds.test"
    error_message = "URLs must lead to the promoted instance."
  }

  assert {
    condition = { for region, deployed in local.deployed : region => deployed.database.replicates_from } == {
      us-east-1      = "arn:aws:rds:eu-west-1:000000000000:db:tidegate-eu-west-1"
      eu-west-1      = null
      ap-southeast-1 = "arn:aws:rds:eu-west-1:000000000000:db:tidegate-eu-west-1"
    }
    error_message = "An instance created from now on replicates from the promoted one, in the former primary's region too."
  }

  assert {
    condition = { for region, deployed in local.deployed : region => contains(keys(deployed.gateway.secrets), "DATABASE_READ_REPLICA_URL") } == {
      us-east-1 = true, eu-west-1 = false, ap-southeast-1 = true
    }
    error_message = "The promoted region has no replica of its own, the former primary's has one."
  }

  assert {
    condition     = aws_secretsmanager_secret_version.database_url.secret_string_wo_version == 1002
    error_message = "A new host must write the stored URL anew."
  }

  # What there is once stays where it is.

  assert {
    condition = toset([
      for destination in one(aws_ecr_replication_configuration.gateway.replication_configuration).rule[0].destination : destination.region
    ]) == toset(["eu-west-1", "ap-southeast-1"])
    error_message = "The registry is in the home region, and is not copied into itself."
  }

  assert {
    condition = alltrue(flatten([
      for region, deployed in local.deployed : [for arn in values(deployed.gateway.secrets) : strcontains(arn, ":secretsmanager:${region}:")]
    ]))
    error_message = "Tasks go on reading the secrets of their own region."
  }

  assert {
    condition     = [for region, deployed in local.deployed : region if deployed.gateway.migrates] == ["us-east-1"]
    error_message = "Migrations run from the home region, to whichever database is the primary."
  }
}

run "a_primary_that_is_no_region_is_refused" {
  command = plan

  variables {
    primary_region = "eu-north-1"
  }

  expect_failures = [var.primary_region]
}

run "a_region_without_protection_can_be_taken_away" {
  command = plan

  variables {
    regions = {
      us-east-1      = { vpc_cidr = "10.10.0.0/16", protected = false }
      eu-west-1      = { vpc_cidr = "10.20.0.0/16" }
      ap-southeast-1 = { vpc_cidr = "10.30.0.0/16" }
    }
  }

  assert {
    condition = alltrue([
      for secret in [aws_secretsmanager_secret.token, aws_secretsmanager_secret.database_url, aws_secretsmanager_secret.admin_url] :
      secret.recovery_window_in_days == 0 && secret.name != ""
    ]) && aws_ecr_repository.gateway.force_delete
    error_message = "Without protection of the home region the registry can be deleted, and secrets free their names."
  }
}

run "a_rotation_changes_the_role_and_the_stored_url_but_no_task_definition" {
  command = plan

  variables {
    secret_generations = { database_app = 2 }
  }

  assert {
    condition     = local.app_role == "tidegate_b" && aws_secretsmanager_secret_version.database_url.secret_string_wo_version == 2001
    error_message = "The next generation is the other role's, and the URL is written anew."
  }

  assert {
    condition     = alltrue(flatten([for deployed in local.deployed : [for arn in values(deployed.gateway.secrets) : endswith(arn, ":secret:s")]]))
    error_message = "Task definitions go on naming the secrets."
  }
}

run "a_public_probe_range_is_refused" {
  command = plan

  variables {
    probe_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.probe_cidrs]
}

run "a_public_scrape_range_is_refused" {
  command = plan

  variables {
    scrape_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.scrape_cidrs]
}

run "overlapping_networks_are_refused" {
  command = plan

  variables {
    regions = {
      us-east-1      = { vpc_cidr = "10.10.0.0/16" }
      eu-west-1      = { vpc_cidr = "10.10.0.0/16" }
      ap-southeast-1 = { vpc_cidr = "10.30.0.0/16" }
    }
  }

  expect_failures = [var.regions]
}

run "what_aws_would_refuse_only_while_applying_is_refused_by_the_plan" {
  command = plan

  variables {
    name         = "tide-"
    domain_name  = "a-name-that-is-longer-than-42-characters.example.com"
    scrape_cidrs = ["10.0.0.0/4"]
  }

  expect_failures = [var.name, var.domain_name, var.scrape_cidrs]
}

run "a_public_network_and_a_task_that_fargate_has_not_are_refused" {
  command = plan

  variables {
    regions = {
      us-east-1      = { vpc_cidr = "10.10.0.0/16", task_cpu = 512, task_memory = 512 }
      eu-west-1      = { vpc_cidr = "11.20.0.0/16" }
      ap-southeast-1 = { vpc_cidr = "10.30.0.0/16" }
    }
  }

  expect_failures = [var.regions]
}

run "the_largest_tasks_that_fargate_has_are_accepted" {
  command = plan

  variables {
    regions = {
      us-east-1      = { vpc_cidr = "10.10.0.0/16", task_cpu = 8192, task_memory = 61440 }
      eu-west-1      = { vpc_cidr = "10.20.0.0/16", task_cpu = 16384, task_memory = 122880 }
      ap-southeast-1 = { vpc_cidr = "10.30.0.0/16", task_cpu = 16384, task_memory = 32768 }
    }
  }
}

run "an_image_tag_is_refused" {
  command = plan

  variables {
    image_digest = "latest"
  }

  expect_failures = [var.image_digest]
}

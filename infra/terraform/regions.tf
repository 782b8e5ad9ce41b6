# The regions. Provider aliases cannot be chosen by a variable, so each region is a module call written
# out, and nothing else: a fourth one is one more block like eu_west_1 with its lines in `local.deployed`
# and `local.database_hosts`, its peerings (peering.tf), its provider alias in providers.tf and its entry
# in `var.regions`.
#
# Two regions are special, and apart. The home region holds what there is once: the originals of the
# secrets, the image's registry, CloudFront's certificate, the alarms on what is global. It never changes.
# The primary region is the one whose database takes writes. A promotion changes it.

locals {
  home_region    = "us-east-1"
  primary_region = coalesce(var.promoted_region, var.primary_region)

  deployed = {
    us-east-1      = module.us_east_1
    eu-west-1      = module.eu_west_1
    ap-southeast-1 = module.ap_southeast_1
  }

  origin_host = "origin.${var.domain_name}"

  common = {
    account_id           = var.account_id
    primary_region       = local.primary_region
    image_digest         = var.image_digest
    postgres_version     = var.postgres_version
    max_lag_seconds      = var.max_lag_seconds
    probe_cidrs          = var.probe_cidrs
    probe_ipv6_cidrs     = var.probe_ipv6_cidrs
    scrape_cidrs         = var.scrape_cidrs
    alarm_emails         = var.alarm_emails
    origin_host          = local.origin_host
    public_host          = var.domain_name
    zone_id              = var.zone_id
    password_generations = var.secret_generations
    excluded_zone_ids    = var.excluded_zone_ids
    vpc_cidrs            = [for region in var.regions : region.vpc_cidr]
    # The tasks' subnets as modules/network cuts them: the second quarter of each network.
    gateway_cidrs = [for region in var.regions : cidrsubnet(region.vpc_cidr, 2, 1)]
    fleet         = local.fleet
    # The names that modules/storage gives its buckets.
    storage = one([
      for storage in var.storage[*] : {
        client_cidrs = storage.client_cidrs
        spool_gib    = storage.spool_gib
        bucket_arns  = [for region in keys(var.regions) : "arn:aws:s3:::${var.name}-storage-${region}-${var.account_id}"]
      }
    ])
    environment = {
      for name, value in {
        AUTH_JWKS_URL     = var.jwks_url
        AUTH_JWT_AUDIENCE = var.jwt_audience
        AUTH_JWT_ISSUER   = var.jwt_issuer
      } : name => value if value != null
    }
  }

  database_hosts = {
    us-east-1      = module.us_east_1.database.host
    eu-west-1      = module.eu_west_1.database.host
    ap-southeast-1 = module.ap_southeast_1.database.host
  }

  # Where writes go.
  primary_host = local.database_hosts[local.primary_region]

  tags = {
    Project     = var.name
    Environment = var.environment
    ManagedBy   = "terraform"
  }
}

module "us_east_1" {
  source    = "./modules/region"
  providers = { aws = aws.us_east_1 }

  name                    = var.name
  region                  = "us-east-1"
  settings                = var.regions["us-east-1"]
  common                  = local.common
  secret_arns             = local.secret_arns["us-east-1"]
  secret_versions         = local.secret_versions
  app_role                = local.app_role
  migration               = { url_secret_arn = aws_secretsmanager_secret.admin_url.arn }
  admin_password          = local.passwords.admin
  app_password            = local.passwords.app
  origin_secrets          = local.origin_secrets
  shared_validation_fqdns = local.shared_validation_fqdns
}

module "eu_west_1" {
  source    = "./modules/region"
  providers = { aws = aws.eu_west_1 }

  name                    = var.name
  region                  = "eu-west-1"
  settings                = var.regions["eu-west-1"]
  common                  = local.common
  create_after            = module.us_east_1.database.arn
  secret_arns             = local.secret_arns["eu-west-1"]
  secret_versions         = local.secret_versions
  app_role                = local.app_role
  admin_password          = local.passwords.admin
  app_password            = local.passwords.app
  origin_secrets          = local.origin_secrets
  shared_validation_fqdns = local.shared_validation_fqdns
}

module "ap_southeast_1" {
  source    = "./modules/region"
  providers = { aws = aws.ap_southeast_1 }

  name                    = var.name
  region                  = "ap-southeast-1"
  settings                = var.regions["ap-southeast-1"]
  common                  = local.common
  create_after            = module.us_east_1.database.arn
  secret_arns             = local.secret_arns["ap-southeast-1"]
  secret_versions         = local.secret_versions
  app_role                = local.app_role
  admin_password          = local.passwords.admin
  app_password            = local.passwords.app
  origin_secrets          = local.origin_secrets
  shared_validation_fqdns = local.shared_validation_fqdns
}

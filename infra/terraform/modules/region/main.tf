# One region: network, database, gateway. Which region's database is the primary is a setting; all that
# differs between that region and the others follows from `local.primary`.

data "aws_region" "current" {}

data "aws_partition" "current" {}

locals {
  # A name of its own per region, because IAM is one for the whole account.
  own_host     = "${var.region}.${var.common.origin_host}"
  primary      = var.region == var.common.primary_region
  repository   = "${var.common.account_id}.dkr.ecr.${var.region}.amazonaws.com/${var.name}"
  replica_urls = local.primary ? {} : { DATABASE_READ_REPLICA_URL = aws_secretsmanager_secret.replica_url.arn }

  # By name, so that no region's configuration refers to another's: any of them may be the primary.
  primary_arn = "arn:${data.aws_partition.current.partition}:rds:${var.common.primary_region}:${var.common.account_id}:db:${var.name}-${var.common.primary_region}"
}

# Catches a module call whose provider and region disagree before anything is made.
resource "terraform_data" "region" {
  input = var.region

  lifecycle {
    precondition {
      condition     = var.region == data.aws_region.current.name
      error_message = "This module call says ${var.region}, its provider ${data.aws_region.current.name}."
    }
  }
}

module "network" {
  source = "../network"

  name              = var.name
  vpc_cidr          = var.settings.vpc_cidr
  zone_count        = var.settings.zone_count
  nat_per_zone      = var.settings.nat_per_zone
  excluded_zone_ids = var.common.excluded_zone_ids
  log_key_arn       = aws_kms_key.this.arn
}

module "postgres" {
  source = "../postgres"

  name                      = "${var.name}-${var.region}"
  source_arn                = local.primary ? null : local.primary_arn
  create_after              = var.create_after
  admin_password            = var.admin_password
  admin_password_generation = var.common.password_generations.database_admin
  engine_version            = var.common.postgres_version
  instance_class            = var.settings.database_class
  storage_gb                = var.settings.database_storage
  protected                 = var.settings.protected
  vpc_id                    = module.network.vpc_id
  subnet_ids                = module.network.database_subnet_ids
  client_cidrs              = var.common.gateway_cidrs
  kms_key_arn               = aws_kms_key.this.arn
  max_lag_seconds           = var.common.max_lag_seconds
  alarm_topic_arn           = aws_sns_topic.alarms.arn
}

module "fleet" {
  source = "../fleet"
  count  = var.common.fleet == null ? 0 : 1

  name                   = var.name
  vpc_id                 = module.network.vpc_id
  subnet_ids             = module.network.private_subnet_ids
  task_security_group_id = module.gateway.task_security_group_id
  kms_key_arn            = aws_kms_key.this.arn
  protected              = var.settings.protected
  alarms                 = try(var.common.fleet.agent_image, null) != null
  alarm_topic_arn        = aws_sns_topic.alarms.arn
}

module "storage" {
  source = "../storage"
  count  = var.common.storage == null ? 0 : 1

  name                   = var.name
  account_id             = var.common.account_id
  domain_name            = var.common.public_host
  zone_id                = var.common.zone_id
  vpc_id                 = module.network.vpc_id
  public_subnet_ids      = module.network.public_subnet_ids
  task_security_group_id = module.gateway.task_security_group_id
  port                   = module.gateway.ports.storage
  public_port            = module.gateway.ports.public
  client_cidrs           = var.common.storage.client_cidrs
  spool_gib              = var.common.storage.spool_gib
  kms_key_arn            = aws_kms_key.this.arn
  protected              = var.settings.protected
  alarm_topic_arn        = aws_sns_topic.alarms.arn
}

# The log bucket is named by its policy: a load balancer checks that it may write when it is made.
module "gateway" {
  source = "../gateway"

  name                    = var.name
  region                  = var.region
  image                   = "${local.repository}@${var.common.image_digest}"
  vpc_id                  = module.network.vpc_id
  public_subnet_ids       = module.network.public_subnet_ids
  private_subnet_ids      = module.network.private_subnet_ids
  own_host                = local.own_host
  origin_host             = var.common.origin_host
  zone_id                 = var.common.zone_id
  public_host             = var.common.public_host
  shared_validation_fqdns = var.shared_validation_fqdns
  origin_secrets          = var.origin_secrets
  probe_cidrs             = var.common.probe_cidrs
  probe_ipv6_cidrs        = var.common.probe_ipv6_cidrs
  scrape_cidrs            = var.common.scrape_cidrs
  database_cidrs          = var.common.vpc_cidrs
  secret_arns             = merge(var.secret_arns, local.replica_urls)
  further_secret_arns     = [aws_secretsmanager_secret.replica_url.arn]
  secret_versions         = concat(var.secret_versions, [aws_secretsmanager_secret_version.replica_url.version_id])
  migration               = var.migration
  environment             = var.common.environment
  fleet                   = one([for made in module.fleet : merge(var.common.fleet, { registry_arn = made.registry_arn, certificate_arn = made.certificate_arn, state = made.state })])
  storage                 = one([for made in module.storage : { target_group_arn = made.target_group_arn, security_group_id = made.security_group_id, bucket_arns = var.common.storage.bucket_arns, account_id = var.common.account_id, spool_gib = var.common.storage.spool_gib }])
  fleet_cidrs             = var.common.gateway_cidrs
  proxy_cidrs             = [var.settings.vpc_cidr]
  kms_key_arn             = aws_kms_key.this.arn
  log_bucket              = aws_s3_bucket_policy.logs.bucket
  task_cpu                = var.settings.task_cpu
  task_memory             = var.settings.task_memory
  task_count_min          = var.settings.task_count_min
  task_count_max          = coalesce(var.settings.task_count_max, var.common.fleet == null ? 10 : 8)
  protected               = var.settings.protected
  alarm_topic_arn         = aws_sns_topic.alarms.arn
}

# The URL of this region's own database belongs to this region alone. It stays when the database is
# promoted: tasks that still name it could not start without it, and it is needed again on the way back.
resource "aws_secretsmanager_secret" "replica_url" {
  #checkov:skip=CKV2_AWS_57:Rotated as infra/README.md says; a rotation function would need a network and a role of its own
  name                    = "${var.name}/database-read-replica-url"
  description             = "DATABASE_READ_REPLICA_URL of the gateways in ${var.region}"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.settings.protected ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "replica_url" {
  secret_id                = aws_secretsmanager_secret.replica_url.id
  secret_string_wo         = "postgres://${var.app_role}:${var.app_password}@${module.postgres.host}:5432/tidegate?sslmode=verify-full"
  secret_string_wo_version = var.common.password_generations.database_app
}

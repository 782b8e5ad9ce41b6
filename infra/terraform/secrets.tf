# Secrets every region reads, kept in the home region and replicated by Secrets Manager, each copy
# under its region's key. Database passwords, URLs and the tokens' secrets never enter Terraform's state:
# modules/stored_secret draws and reads them as ephemeral values. `manage_master_user_password` would be
# simpler but RDS refuses it for an instance with replicas. The origin secrets do enter the state,
# because CloudFront and the listener rules take them as plain arguments.

locals {
  # No such account exists, and providers.tf allows no other than var.account_id: it means a test.
  mocked = var.account_id == "000000000000"

  home_protected = var.regions[local.home_region].protected

  # A deleted secret keeps its name for so long. Without protection everything may be made anew at once.
  secret_recovery_days = local.home_protected ? 30 : 0

  # The originals stay in the home region whichever database is the primary; these are the copies.
  replica_keys = {
    eu-west-1      = module.eu_west_1.kms_key_arn
    ap-southeast-1 = module.ap_southeast_1.kms_key_arn
  }

  # Two roles take turns, so that the running gateways' password stays valid while the next one is
  # introduced: infra/README.md, "Rotating secrets".
  app_role = var.secret_generations.database_app % 2 == 1 ? "tidegate_a" : "tidegate_b"

  # Written again when the password or the host changes.
  url_generation = var.secret_generations.database_app * 1000 + var.database_url_generation

  # A replicated secret has the same ARN everywhere but for the region. The secret's own ARN, never its
  # version's: that one is unknown while a new value is written, which would replace every task definition
  # in the apply that rotates a password.
  secret_arns = {
    for region, settings in var.regions : region => merge(
      {
        DATABASE_URL = replace(aws_secretsmanager_secret.database_url.arn, ":${local.home_region}:", ":${region}:")
        TOKEN_SECRET = replace(aws_secretsmanager_secret.token.arn, ":${local.home_region}:", ":${region}:")
        ADMIN_TOKEN  = replace(aws_secretsmanager_secret.admin_token.arn, ":${local.home_region}:", ":${region}:")
      },
      { for secret in aws_secretsmanager_secret.storage_master_key : "STORAGE_MASTER_KEY" => replace(secret.arn, ":${local.home_region}:", ":${region}:") },
    )
  }

  # What the services wait for before they start tasks.
  secret_versions = concat(
    [
      aws_secretsmanager_secret_version.database_url.version_id,
      module.token_secret.version_arn,
      module.admin_token.version_arn,
    ],
    module.storage_master_key[*].version_arn,
  )

  origin_secrets = [for slot in ["a", "b"] : data.aws_secretsmanager_secret_version.origin[slot].secret_string]
}

resource "aws_secretsmanager_secret" "database_admin" {
  #checkov:skip=CKV2_AWS_57:Rotated as infra/README.md says; a rotation function would need a network and a role of its own
  provider = aws.us_east_1

  name                    = "${var.name}/database-admin-password"
  description             = "Password of the role tidegate_admin"
  kms_key_id              = module.us_east_1.kms_key_arn
  recovery_window_in_days = local.secret_recovery_days
}

module "database_admin_password" {
  source    = "./modules/stored_secret"
  providers = { aws = aws.us_east_1, aws.secrets = aws.secrets }

  secret_arn = aws_secretsmanager_secret.database_admin.arn
  generation = var.secret_generations.database_admin
  mocked     = local.mocked
}

resource "aws_secretsmanager_secret" "database_app" {
  #checkov:skip=CKV2_AWS_57:Rotated as infra/README.md says; a rotation function would need a network and a role of its own
  provider = aws.us_east_1

  name                    = "${var.name}/database-app-password"
  description             = "Password of the role tidegate_a or tidegate_b, whichever the gateways use"
  kms_key_id              = module.us_east_1.kms_key_arn
  recovery_window_in_days = local.secret_recovery_days
}

module "database_app_password" {
  source    = "./modules/stored_secret"
  providers = { aws = aws.us_east_1, aws.secrets = aws.secrets }

  secret_arn = aws_secretsmanager_secret.database_app.arn
  generation = var.secret_generations.database_app
  mocked     = local.mocked
}

resource "aws_secretsmanager_secret" "token" {
  #checkov:skip=CKV2_AWS_57:Rotated as infra/README.md says; a rotation function would need a network and a role of its own
  provider = aws.us_east_1

  name                    = "${var.name}/token-secret"
  description             = "TOKEN_SECRET: comma-separated, the first signs, all verify"
  kms_key_id              = module.us_east_1.kms_key_arn
  recovery_window_in_days = local.secret_recovery_days

  # Copies made independent in a disaster become copies again.
  force_overwrite_replica_secret = true

  dynamic "replica" {
    for_each = local.replica_keys

    content {
      region     = replica.key
      kms_key_id = replica.value
    }
  }
}

module "token_secret" {
  source    = "./modules/stored_secret"
  providers = { aws = aws.us_east_1, aws.secrets = aws.secrets }

  secret_arn = aws_secretsmanager_secret.token.arn
  generation = var.secret_generations.token
  mocked     = local.mocked
}

resource "aws_secretsmanager_secret" "admin_token" {
  #checkov:skip=CKV2_AWS_57:Rotated as infra/README.md says; a rotation function would need a network and a role of its own
  provider = aws.us_east_1

  name                    = "${var.name}/admin-token"
  description             = "ADMIN_TOKEN: what drains and purges over the admin listener need"
  kms_key_id              = module.us_east_1.kms_key_arn
  recovery_window_in_days = local.secret_recovery_days

  # Copies made independent in a disaster become copies again.
  force_overwrite_replica_secret = true

  dynamic "replica" {
    for_each = local.replica_keys

    content {
      region     = replica.key
      kms_key_id = replica.value
    }
  }
}

module "admin_token" {
  source    = "./modules/stored_secret"
  providers = { aws = aws.us_east_1, aws.secrets = aws.secrets }

  secret_arn = aws_secretsmanager_secret.admin_token.arn
  generation = var.secret_generations.admin_token
  mocked     = local.mocked
}

# Seals the credentials of buckets in the database. It is never drawn anew: what it has sealed could not be
# opened any more. docs/storage.md says how another one takes its place.
resource "aws_secretsmanager_secret" "storage_master_key" {
  #checkov:skip=CKV2_AWS_57:Rotated as docs/storage.md says; a rotation function could not seal anew
  provider = aws.us_east_1
  count    = var.storage == null ? 0 : 1

  name                    = "${var.name}/storage-master-key"
  description             = "STORAGE_MASTER_KEY: comma-separated, the first seals, all open"
  kms_key_id              = module.us_east_1.kms_key_arn
  recovery_window_in_days = local.secret_recovery_days

  # Copies made independent in a disaster become copies again.
  force_overwrite_replica_secret = true

  dynamic "replica" {
    for_each = local.replica_keys

    content {
      region     = replica.key
      kms_key_id = replica.value
    }
  }
}

# 42 characters and what makes 32 bytes in base64 of them.
module "storage_master_key" {
  source    = "./modules/stored_secret"
  providers = { aws = aws.us_east_1, aws.secrets = aws.secrets }
  count     = var.storage == null ? 0 : 1

  secret_arn = aws_secretsmanager_secret.storage_master_key[0].arn
  generation = 1
  length     = 42
  suffix     = "A="
  mocked     = local.mocked
}

resource "aws_secretsmanager_secret" "database_url" {
  #checkov:skip=CKV2_AWS_57:Rotated as infra/README.md says; a rotation function would need a network and a role of its own
  provider = aws.us_east_1

  name                    = "${var.name}/database-url"
  description             = "DATABASE_URL of the gateways in every region"
  kms_key_id              = module.us_east_1.kms_key_arn
  recovery_window_in_days = local.secret_recovery_days

  # Copies made independent in a disaster become copies again.
  force_overwrite_replica_secret = true

  dynamic "replica" {
    for_each = local.replica_keys

    content {
      region     = replica.key
      kms_key_id = replica.value
    }
  }
}

resource "aws_secretsmanager_secret_version" "database_url" {
  provider = aws.us_east_1

  secret_id                = aws_secretsmanager_secret.database_url.id
  secret_string_wo         = "postgres://${local.app_role}:${local.passwords.app}@${local.primary_host}:5432/tidegate?sslmode=verify-full"
  secret_string_wo_version = local.url_generation
}

# Read back rather than handed on: the values drawn are fresh ones on every run, the stored ones not.
ephemeral "aws_secretsmanager_secret_version" "password" {
  provider = aws.secrets
  for_each = local.mocked ? {} : {
    admin = module.database_admin_password.version_arn
    app   = module.database_app_password.version_arn
  }

  secret_id = each.value
}

locals {
  passwords = {
    admin = local.mocked ? "mocked" : ephemeral.aws_secretsmanager_secret_version.password["admin"].secret_string
    app   = local.mocked ? "mocked" : ephemeral.aws_secretsmanager_secret_version.password["app"].secret_string
  }
}

# The migrate task alone reads this one.
resource "aws_secretsmanager_secret" "admin_url" {
  #checkov:skip=CKV2_AWS_57:Rotated as infra/README.md says; a rotation function would need a network and a role of its own
  provider = aws.us_east_1

  name                    = "${var.name}/database-admin-url"
  description             = "DATABASE_URL of the migrate task"
  kms_key_id              = module.us_east_1.kms_key_arn
  recovery_window_in_days = local.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "admin_url" {
  provider = aws.us_east_1

  secret_id                = aws_secretsmanager_secret.admin_url.id
  secret_string_wo         = "postgres://tidegate_admin:${local.passwords.admin}@${local.primary_host}:5432/tidegate?sslmode=verify-full"
  secret_string_wo_version = var.secret_generations.database_admin * 1000 + var.database_url_generation
}

# Two slots, so that one can be renewed while the other is in use.
resource "aws_secretsmanager_secret" "origin" {
  #checkov:skip=CKV2_AWS_57:Rotated as infra/README.md says; a rotation function would need a network and a role of its own
  provider = aws.us_east_1
  for_each = toset(["a", "b"])

  name                    = "${var.name}/origin-verify-${each.key}"
  description             = "X-Origin-Verify, slot ${each.key}"
  kms_key_id              = module.us_east_1.kms_key_arn
  recovery_window_in_days = local.secret_recovery_days
}

module "origin_secret" {
  source    = "./modules/stored_secret"
  providers = { aws = aws.us_east_1, aws.secrets = aws.secrets }
  for_each  = aws_secretsmanager_secret.origin

  secret_arn = each.value.arn
  generation = each.key == "a" ? var.secret_generations.origin_a : var.secret_generations.origin_b
  mocked     = local.mocked
}

data "aws_secretsmanager_secret_version" "origin" {
  provider = aws.us_east_1
  for_each = module.origin_secret

  secret_id = each.value.version_arn
}

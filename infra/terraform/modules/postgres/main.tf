# One PostgreSQL instance: the primary, or a cross-region streaming replica of it. The difference is
# `source_arn` and what follows from it; everything a promotion needs is there on both.

data "aws_region" "current" {}

locals {
  primary = var.source_arn == null
  major   = split(".", var.engine_version)[0]

  exported_logs = ["postgresql", "upgrade"]
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-pg${local.major}-"
  family      = "postgres${local.major}"
  description = "Tidegate: TLS only, replay that queries cannot hold up for long"

  parameter {
    name         = "rds.force_ssl"
    value        = "1"
    apply_method = "immediate"
  }

  # Vacuum on the primary waits for what replicas still read, so that fewer queries there are cancelled.
  parameter {
    name         = "hot_standby_feedback"
    value        = "1"
    apply_method = "immediate"
  }

  # Milliseconds. Above the gateway's max_lag one long query would take the replica out of routing.
  parameter {
    name         = "max_standby_streaming_delay"
    value        = tostring(var.max_lag_seconds * 600)
    apply_method = "immediate"
  }

  # MiB. A replica that is gone must not fill the primary's disk with the log kept for it.
  parameter {
    name         = "max_slot_wal_keep_size"
    value        = "20480"
    apply_method = "immediate"
  }

  # Milliseconds. The gateway opens no transaction that waits for a client.
  parameter {
    name         = "idle_in_transaction_session_timeout"
    value        = "30000"
    apply_method = "immediate"
  }

  parameter {
    name         = "log_min_duration_statement"
    value        = "1000"
    apply_method = "immediate"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "PostgreSQL from the gateway tasks"
  vpc_id      = var.vpc_id
}

# Ranges, because a security group of another region cannot be named. No rule for the way out: nothing
# starts a connection from here.
resource "aws_vpc_security_group_ingress_rule" "gateway" {
  for_each = toset(var.client_cidrs)

  security_group_id = aws_security_group.database.id
  description       = "PostgreSQL from gateway tasks"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_226:The minor is pinned: replicas are upgraded before the primary, by hand
  identifier          = var.name
  replicate_source_db = var.source_arn

  engine                = local.primary ? "postgres" : null
  engine_version        = local.primary ? var.engine_version : null
  db_name               = local.primary ? "tidegate" : null
  username              = local.primary ? "tidegate_admin" : null
  password_wo           = local.primary ? var.admin_password : null
  password_wo_version   = local.primary ? var.admin_password_generation : null
  allocated_storage     = local.primary ? var.storage_gb : null
  max_allocated_storage = var.storage_gb * 5

  instance_class     = var.instance_class
  storage_type       = "gp3"
  storage_encrypted  = true
  kms_key_id         = var.kms_key_arn
  ca_cert_identifier = "rds-ca-rsa2048-g1"

  multi_az               = local.primary
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.database.id]
  parameter_group_name   = aws_db_parameter_group.this.name
  publicly_accessible    = false

  # Replicas keep backups too: one that is promoted is protected, and can be a source, at once.
  backup_retention_period   = var.backup_retention_days
  backup_window             = "02:00-03:00"
  maintenance_window        = "sun:03:30-sun:04:30"
  copy_tags_to_snapshot     = true
  deletion_protection       = var.protected
  skip_final_snapshot       = !local.primary
  final_snapshot_identifier = "${var.name}-final-of-${formatdate("YYYYMMDDhhmmss", plantimestamp())}"

  # The minor is pinned; replicas are upgraded before the primary, by hand (infra/README.md).
  auto_minor_version_upgrade  = false
  allow_major_version_upgrade = false

  # Not in the maintenance window: a promoted instance must not stand without its standby until Sunday.
  apply_immediately = true

  performance_insights_enabled    = true
  performance_insights_kms_key_id = var.kms_key_arn
  monitoring_interval             = 15
  monitoring_role_arn             = aws_iam_role.monitoring.arn
  enabled_cloudwatch_logs_exports = local.exported_logs

  # A replica is a copy of the whole database from another region.
  timeouts {
    create = "6h"
    update = "3h"
    delete = "2h"
  }

  lifecycle {
    ignore_changes = [
      # Storage grows by itself; a plan must not shrink it back.
      allocated_storage,
      # Decided when the instance was created, and no reason to replace a database. Promotion is a command
      # of infra/README.md, never an apply; another source takes a new instance (`-replace`).
      replicate_source_db, db_name, username,
      # Of the creation: each instance leaves its last snapshot under a name of its own.
      final_snapshot_identifier,
    ]
  }

  # RDS would make the log groups itself, to be kept for ever and without the key. And a replica's source
  # comes first.
  depends_on = [aws_cloudwatch_log_group.exports, var.create_after]
}

# Terraform does not promote. This looks at the instance itself and stops a plan that would send every
# gateway's writes to one that still replicates. By its name: a reference to the instance would put the look
# off until the changes are made.
data "aws_db_instances" "primary" {
  count = local.primary ? 1 : 0

  filter {
    name   = "db-instance-id"
    values = [var.name]
  }
}

data "aws_db_instance" "primary" {
  for_each = toset(flatten(data.aws_db_instances.primary[*].instance_identifiers))

  db_instance_identifier = each.key

  lifecycle {
    postcondition {
      condition     = self.replicate_source_db == ""
      error_message = "${var.name} still replicates. Promote it first: infra/README.md, \"Promoting a replica\"."
    }
  }
}

resource "aws_cloudwatch_log_group" "exports" {
  for_each = toset(local.exported_logs)

  name              = "/aws/rds/instance/${var.name}/${each.key}"
  retention_in_days = 365
  kms_key_id        = var.kms_key_arn
}

resource "aws_iam_role" "monitoring" {
  name               = "${var.name}-${data.aws_region.current.name}-rds-monitoring"
  assume_role_policy = data.aws_iam_policy_document.monitoring_assume.json
}

data "aws_iam_policy_document" "monitoring_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }
  }
}

data "aws_partition" "current" {}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

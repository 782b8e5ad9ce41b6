# The primary, a replica, and the network they stand in.

mock_provider "aws" {
  source          = "./tests/mocks/eu-west-1"
  override_during = plan
}

variables {
  name            = "tidegate-eu-west-1"
  admin_password  = "of-the-test"
  engine_version  = "15.14"
  instance_class  = "db.m7g.large"
  storage_gb      = 100
  vpc_id          = "vpc-eu-west-1"
  subnet_ids      = ["subnet-e", "subnet-f"]
  client_cidrs    = ["10.10.64.0/18", "10.20.64.0/18"]
  kms_key_arn     = "arn:aws:kms:eu-west-1:000000000000:key/k"
  alarm_topic_arn = "arn:aws:sns:eu-west-1:000000000000:alarms"
  vpc_cidr        = "10.20.0.0/16"
  log_key_arn     = "arn:aws:kms:eu-west-1:000000000000:key/k"
}

run "primary" {
  command = plan

  module {
    source = "./modules/postgres"
  }

  assert {
    condition     = aws_db_instance.this.replicate_source_db == null && aws_db_instance.this.engine == "postgres" && aws_db_instance.this.engine_version == "15.14"
    error_message = "A primary is a PostgreSQL of the pinned minor."
  }

  assert {
    condition     = aws_db_instance.this.multi_az && aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot
    error_message = "A primary stands in two zones, is protected and leaves a snapshot."
  }

  assert {
    condition     = aws_db_instance.this.backup_retention_period >= 1
    error_message = "Without backups RDS refuses replicas."
  }

  assert {
    condition     = aws_db_instance.this.apply_immediately && startswith(aws_db_instance.this.final_snapshot_identifier, "tidegate-eu-west-1-final-of-2")
    error_message = "A promoted instance gets its standby at once, and every instance's last snapshot has a name of its own."
  }

  assert {
    condition = toset([for group in aws_cloudwatch_log_group.exports : group.name]) == toset([
      for kind in aws_db_instance.this.enabled_cloudwatch_logs_exports : "/aws/rds/instance/tidegate-eu-west-1/${kind}"
      ]) && alltrue([
      for group in aws_cloudwatch_log_group.exports : group.retention_in_days > 0 && group.kms_key_id == var.kms_key_arn
    ])
    error_message = "Every exported log has its group, under the key and not for ever."
  }

  assert {
    condition     = aws_db_instance.this.manage_master_user_password == null && aws_db_instance.this.password == null
    error_message = "manage_master_user_password does not work with replicas, password would enter the state."
  }

  assert {
    condition     = !aws_db_instance.this.auto_minor_version_upgrade && !aws_db_instance.this.publicly_accessible
    error_message = "The minor stays pinned and the instance private."
  }

  assert {
    condition = toset([
      for alarm in [aws_cloudwatch_metric_alarm.free_storage, aws_cloudwatch_metric_alarm.cpu] :
      "${alarm.namespace} ${alarm.statistic} ${alarm.metric_name} ${alarm.comparison_operator} ${alarm.threshold} ${one(alarm.alarm_actions)}"
      ]) == toset([
      "AWS/RDS Minimum FreeStorageSpace LessThanThreshold ${100 * 1024 * 1024 * 1024 / 10} ${var.alarm_topic_arn}",
      "AWS/RDS Average CPUUtilization GreaterThanThreshold 80 ${var.alarm_topic_arn}",
    ])
    error_message = "Little storage and much CPU alarm, not the other way round."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.replica_lag) == 0
    error_message = "A primary has no lag to watch."
  }
}

run "an_unprotected_one_can_be_deleted" {
  command = plan

  module {
    source = "./modules/postgres"
  }

  variables {
    protected = false
  }

  assert {
    condition     = !aws_db_instance.this.deletion_protection
    error_message = "protected = false must take the protection off."
  }
}

run "an_instance_that_still_replicates_is_no_primary" {
  command = plan

  module {
    source = "./modules/postgres"
  }

  override_data {
    target          = data.aws_db_instances.primary
    override_during = plan
    values          = { instance_identifiers = ["tidegate-eu-west-1"] }
  }

  override_data {
    target          = data.aws_db_instance.primary
    override_during = plan
    values          = { replicate_source_db = "arn:aws:rds:us-east-1:000000000000:db:tidegate-us-east-1" }
  }

  expect_failures = [data.aws_db_instance.primary]
}

run "replica" {
  command = plan

  module {
    source = "./modules/postgres"
  }

  variables {
    source_arn = "arn:aws:rds:us-east-1:000000000000:db:tidegate-us-east-1"
  }

  assert {
    condition     = aws_db_instance.this.replicate_source_db == "arn:aws:rds:us-east-1:000000000000:db:tidegate-us-east-1"
    error_message = "A cross-region replica names its source by ARN."
  }

  assert {
    condition     = aws_db_instance.this.storage_encrypted && aws_db_instance.this.kms_key_id == "arn:aws:kms:eu-west-1:000000000000:key/k"
    error_message = "A replica is encrypted under a key of its own region."
  }

  assert {
    condition     = aws_db_instance.this.password_wo_version == null
    error_message = "A replica has its source's roles; RDS refuses a password for it."
  }

  assert {
    condition     = aws_db_instance.this.deletion_protection && aws_db_instance.this.backup_retention_period >= 1
    error_message = "A replica is ready to be promoted: protected and with backups."
  }

  assert {
    condition = {
      for parameter in aws_db_parameter_group.this.parameter : parameter.name => parameter.value
      if contains(["rds.force_ssl", "hot_standby_feedback"], parameter.name)
    } == { "rds.force_ssl" = "1", "hot_standby_feedback" = "1" }
    error_message = "TLS is forced, and replicas tell the primary what they still read."
  }

  assert {
    condition = alltrue([
      for parameter in aws_db_parameter_group.this.parameter :
      tonumber(parameter.value) > 0 && tonumber(parameter.value) < 5000 if parameter.name == "max_standby_streaming_delay"
    ]) && contains([for parameter in aws_db_parameter_group.this.parameter : parameter.name], "max_standby_streaming_delay")
    error_message = "A query may hold up replay for less than max_lag (5 s), and not for ever."
  }

  assert {
    condition     = aws_db_parameter_group.this.family == "postgres15"
    error_message = "The parameter group is the pinned major's."
  }

  assert {
    condition = toset([
      for rule in aws_vpc_security_group_ingress_rule.gateway : "${rule.cidr_ipv4} ${rule.from_port}-${rule.to_port}"
    ]) == toset(["10.10.64.0/18 5432-5432", "10.20.64.0/18 5432-5432"])
    error_message = "Exactly the gateway tasks reach PostgreSQL."
  }

  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.replica_lag :
      alarm.metric_name == "ReplicaLag" && alarm.comparison_operator == "GreaterThanThreshold" && alarm.threshold == 5 && alarm.statistic == "Maximum" && alarm.treat_missing_data == "breaching" && tolist(alarm.alarm_actions) == tolist([var.alarm_topic_arn])
    ]) && length(aws_cloudwatch_metric_alarm.replica_lag) == 1
    error_message = "A replica's lag over max_lag, or unknown, must alarm."
  }
}

run "network" {
  command = plan

  module {
    source = "./modules/network"
  }

  assert {
    condition     = [for subnet in aws_subnet.private : subnet.cidr_block] == ["10.20.64.0/20", "10.20.80.0/20"]
    error_message = "The tasks' subnets must lie in the second quarter, which databases admit."
  }

  assert {
    condition     = length(distinct(concat(aws_subnet.public[*].cidr_block, aws_subnet.private[*].cidr_block, aws_subnet.database[*].cidr_block))) == 6
    error_message = "Six subnets of their own."
  }

  assert {
    condition     = length(distinct(aws_subnet.private[*].availability_zone)) == 2 && length(distinct(aws_subnet.database[*].availability_zone)) == 2
    error_message = "Every tier stands in two zones."
  }

  assert {
    condition = alltrue([
      for subnet in concat(aws_subnet.public, aws_subnet.private, aws_subnet.database) : subnet.map_public_ip_on_launch != true
    ])
    error_message = "Nothing gets a public address by being started."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 2 && alltrue([for route in aws_route.private_nat : route.gateway_id == null])
    error_message = "Tasks go out through a NAT gateway in their own zone."
  }

  assert {
    condition     = toset(keys(output.peered_route_tables)) == toset(["private-0", "private-1", "database"])
    error_message = "The tasks' and the database's route tables get the peering routes."
  }

  assert {
    condition     = aws_vpc_endpoint.s3.service_name == "com.amazonaws.eu-west-1.s3"
    error_message = "Image layers come by the region's own S3 endpoint."
  }
}

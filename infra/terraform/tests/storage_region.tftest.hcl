# What one region has for object storage: its bucket, listener, name, disk, rights, alarms.

mock_provider "aws" {
  source          = "./tests/mocks/eu-west-1"
  override_during = plan
}

run "region" {
  command = plan

  module {
    source = "./modules/storage"
  }

  override_resource {
    target          = aws_security_group.clients
    override_during = plan
    values          = { id = "sg-clients" }
  }

  override_resource {
    target          = aws_acm_certificate.this
    override_during = plan
    values = {
      arn = "arn:aws:acm:eu-west-1:000000000000:certificate/s3"
      domain_validation_options = [{
        domain_name           = "s3-eu-west-1-aws.api.example.com"
        resource_record_name  = "_x.s3"
        resource_record_type  = "CNAME"
        resource_record_value = "_y.acm.test"
      }]
    }
  }

  override_resource {
    target          = aws_acm_certificate_validation.this
    override_during = plan
    values          = { certificate_arn = "arn:aws:acm:eu-west-1:000000000000:certificate/s3" }
  }

  variables {
    name                   = "tidegate"
    account_id             = "000000000000"
    domain_name            = "api.example.com"
    zone_id                = "Z0TEST"
    vpc_id                 = "vpc-eu-west-1"
    public_subnet_ids      = ["subnet-a", "subnet-b"]
    task_security_group_id = "sg-tasks"
    port                   = 9000
    public_port            = 8080
    client_cidrs           = ["192.0.2.0/24"]
    spool_gib              = 30
    kms_key_arn            = "arn:aws:kms:eu-west-1:000000000000:key/k"
    alarm_topic_arn        = "arn:aws:sns:eu-west-1:000000000000:alarms"
  }

  assert {
    condition = (
      aws_s3_bucket_public_access_block.this.block_public_acls && aws_s3_bucket_public_access_block.this.block_public_policy &&
      aws_s3_bucket_public_access_block.this.ignore_public_acls && aws_s3_bucket_public_access_block.this.restrict_public_buckets &&
      one(aws_s3_bucket_ownership_controls.this.rule).object_ownership == "BucketOwnerEnforced"
    )
    error_message = "The bucket is nobody's but the account's."
  }

  assert {
    condition = (
      one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default).kms_master_key_id == "arn:aws:kms:eu-west-1:000000000000:key/k" &&
      one(aws_s3_bucket_server_side_encryption_configuration.this.rule).bucket_key_enabled && !aws_s3_bucket.this.force_destroy
    )
    error_message = "Objects are under the region's key, and a protected region's bucket is not deleted with them."
  }

  assert {
    condition = (
      data.aws_iam_policy_document.bucket.statement[0].effect == "Deny" &&
      one(data.aws_iam_policy_document.bucket.statement[0].condition).variable == "aws:SecureTransport"
    )
    error_message = "The bucket is reached over TLS only."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.this.rule : one(rule.abort_incomplete_multipart_upload).days_after_initiation if length(rule.expiration) == 0]) == 8
    error_message = "Parts that no upload completes are given up after the week that the gateways keep them; nothing else expires."
  }

  assert {
    condition = (
      aws_lb.this.load_balancer_type == "network" && !aws_lb.this.internal && aws_lb.this.enable_deletion_protection &&
      aws_lb_listener.tls.protocol == "TLS" && aws_lb_listener.tls.port == 443 &&
      aws_lb_listener.tls.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06" &&
      aws_lb_listener.tls.certificate_arn == "arn:aws:acm:eu-west-1:000000000000:certificate/s3" &&
      aws_lb_target_group.this.port == 9000 && aws_lb_target_group.this.target_type == "ip"
    )
    error_message = "S3 is served over TLS, and bytes pass as they are."
  }

  assert {
    condition = (
      one(aws_lb_target_group.this.health_check).path == "/health/live" &&
      one(aws_lb_target_group.this.health_check).port == "8080" && one(aws_lb_target_group.this.health_check).matcher == "200"
    )
    error_message = "A gateway is behind the listener while it is alive, whatever its buckets are."
  }

  assert {
    condition = (
      [for rule in aws_vpc_security_group_ingress_rule.clients : "${rule.cidr_ipv4} ${rule.from_port}-${rule.to_port}"] == ["192.0.2.0/24 443-443"] &&
      { for what, rule in aws_vpc_security_group_egress_rule.tasks : what => "${rule.referenced_security_group_id} ${rule.from_port}" } ==
      { requests = "sg-tasks 9000", health = "sg-tasks 8080" }
    )
    error_message = "Only the clients connect, and only the tasks are behind."
  }

  assert {
    condition = (
      output.host == "s3-eu-west-1-aws.api.example.com" && aws_route53_record.this.name == output.host &&
      one(aws_route53_record.this.alias).name == "eu-west-1.elb.test" && aws_acm_certificate.this.domain_name == output.host
    )
    error_message = "The listener's name leads to its load balancer, which has a certificate for it."
  }

  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.this :
      name => "${alarm.namespace} ${alarm.metric_name} ${alarm.statistic} ${alarm.comparison_operator} ${alarm.threshold} in ${alarm.evaluation_periods} min"
      } == {
      storage-unhealthy     = "AWS/NetworkELB UnHealthyHostCount Maximum GreaterThanThreshold 0 in 5 min"
      storage-spool         = "ECS/ContainerInsights EphemeralStorageUtilized Maximum GreaterThanThreshold 24 in 5 min"
      storage-bucket-errors = "AWS/S3 5xxErrors Sum GreaterThanThreshold 10 in 5 min"
    }
    error_message = "Dead tasks, full disks and a failing bucket alarm."
  }

  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.this : tolist(alarm.alarm_actions) == tolist(["arn:aws:sns:eu-west-1:000000000000:alarms"])
    ])
    error_message = "Every alarm notifies the region's topic."
  }
}

run "gateway" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  override_resource {
    target          = aws_security_group.tasks
    override_during = plan
    values          = { id = "sg-tasks" }
  }

  override_data {
    target          = data.aws_ec2_managed_prefix_list.cloudfront
    override_during = plan
    values          = { id = "pl-cloudfront" }
  }

  override_data {
    target          = data.aws_ec2_managed_prefix_list.route53
    override_during = plan
    values          = { id = "pl-route53" }
  }

  variables {
    name                    = "tidegate"
    region                  = "eu-west-1"
    image                   = "registry.test/tidegate@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    vpc_id                  = "vpc-eu-west-1"
    public_subnet_ids       = ["subnet-a", "subnet-b"]
    private_subnet_ids      = ["subnet-c", "subnet-d"]
    own_host                = "eu-west-1.origin.api.example.com"
    origin_host             = "origin.api.example.com"
    zone_id                 = "Z0TEST"
    shared_validation_fqdns = ["_x.origin.api.example.com", "_x.api.example.com"]
    public_host             = "api.example.com"
    origin_secrets          = ["secret-of-slot-a", "secret-of-slot-b"]
    database_cidrs          = ["10.10.0.0/16", "10.20.0.0/16"]
    secret_arns             = { DATABASE_URL = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:url" }
    secret_versions         = ["v1"]
    kms_key_arn             = "arn:aws:kms:eu-west-1:000000000000:key/k"
    log_bucket              = "logs"
    alarm_topic_arn         = "arn:aws:sns:eu-west-1:000000000000:alarms"
    storage = {
      target_group_arn  = "arn:aws:elasticloadbalancing:eu-west-1:000000000000:targetgroup/s3/1"
      security_group_id = "sg-s3"
      bucket_arns       = ["arn:aws:s3:::one", "arn:aws:s3:::two"]
      account_id        = "000000000000"
      spool_gib         = 30
    }
  }

  assert {
    condition = (
      { for load_balancer in aws_ecs_service.gateway.load_balancer : load_balancer.container_port => load_balancer.target_group_arn }["9000"] == "arn:aws:elasticloadbalancing:eu-west-1:000000000000:targetgroup/s3/1" &&
      length(aws_ecs_service.gateway.load_balancer) == 2 &&
      jsondecode(aws_ecs_task_definition.gateway.container_definitions)[0].portMappings[*].containerPort == [8080, 9000]
    )
    error_message = "The tasks are behind both load balancers."
  }

  assert {
    condition = { for what, rule in aws_vpc_security_group_ingress_rule.storage : what => "${rule.referenced_security_group_id} ${rule.from_port}" } == {
      "S3" = "sg-s3 9000", "health checks" = "sg-s3 8080"
    }
    error_message = "Only the load balancer of S3 reaches the listener of S3."
  }

  assert {
    condition = (
      jsondecode(aws_ecs_task_definition.gateway.container_definitions)[0].mountPoints == [{ sourceVolume = "spool", containerPath = "/var/spool/tidegate", readOnly = false }] &&
      contains(aws_ecs_task_definition.gateway.volume[*].name, "spool") && one(aws_ecs_task_definition.gateway.ephemeral_storage).size_in_gib == 30 &&
      output.task.environment.TMPDIR == "/var/spool/tidegate"
    )
    error_message = "Bodies that no bucket has taken have a disk, and it is where the gateway puts them."
  }

  assert {
    condition = (
      jsondecode(aws_ecs_task_definition.gateway.container_definitions)[0].dependsOn == [{ containerName = "spool", condition = "SUCCESS" }] &&
      [for container in jsondecode(aws_ecs_task_definition.gateway.container_definitions) : "${container.user} ${container.command[0]}" if container.name == "spool"] ==
      ["0:10001 chgrp 10001 /var/spool/tidegate; chmod 0770 /var/spool/tidegate"]
    )
    error_message = "The gateway may write to its disk before it starts."
  }

  assert {
    condition = (
      toset(data.aws_iam_policy_document.storage[0].statement[0].resources) == toset(["arn:aws:s3:::one", "arn:aws:s3:::two"]) &&
      toset(data.aws_iam_policy_document.storage[0].statement[0].actions) == toset(["s3:ListBucket"]) &&
      toset(data.aws_iam_policy_document.storage[0].statement[1].resources) == toset(["arn:aws:s3:::one/*", "arn:aws:s3:::two/*"]) &&
      toset(data.aws_iam_policy_document.storage[0].statement[1].actions) == toset(["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"])
    )
    error_message = "A task may use the objects of the buckets, and nothing else of S3."
  }

  assert {
    condition = (
      { for condition in data.aws_iam_policy_document.storage[0].statement[2].condition : condition.variable => tolist(condition.values) } ==
      { "kms:ResourceAliases" = tolist(["alias/tidegate"]), "kms:ViaService" = tolist(["s3.*.amazonaws.com"]) } &&
      toset(data.aws_iam_policy_document.storage[0].statement[2].actions) == toset(["kms:Decrypt", "kms:GenerateDataKey"])
    )
    error_message = "A task uses the buckets' keys, by way of S3 only."
  }
}

# Section 8 of the design at the load balancer and in the tasks of one region.

mock_provider "aws" {
  source          = "./tests/mocks/eu-west-1"
  override_during = plan
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

override_resource {
  target          = aws_security_group.edge
  override_during = plan
  values          = { id = "sg-edge" }
}

override_resource {
  target          = aws_security_group.probes
  override_during = plan
  values          = { id = "sg-probes" }
}

override_resource {
  target          = aws_security_group.tasks
  override_during = plan
  values          = { id = "sg-tasks" }
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
}

run "gateway" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  # --- The load balancer is closed except as designed. ---

  assert {
    condition     = aws_lb.this.ip_address_type == "dualstack" && aws_lb.this.enable_deletion_protection && !aws_lb.this.internal
    error_message = "A public, dualstack, protected load balancer."
  }

  assert {
    condition     = toset(aws_lb.this.security_groups) == toset(["sg-edge", "sg-probes"])
    error_message = "Two groups: the prefix lists exceed one group's limit together."
  }

  assert {
    condition = (
      aws_vpc_security_group_ingress_rule.cloudfront.prefix_list_id == "pl-cloudfront" &&
      aws_vpc_security_group_ingress_rule.cloudfront.security_group_id == "sg-edge" &&
      aws_vpc_security_group_ingress_rule.cloudfront.cidr_ipv4 == null &&
      aws_vpc_security_group_ingress_rule.route53.prefix_list_id == "pl-route53" &&
      aws_vpc_security_group_ingress_rule.route53.security_group_id == "sg-probes" &&
      aws_vpc_security_group_ingress_rule.route53.cidr_ipv4 == null
    )
    error_message = "CloudFront and Route 53 are admitted by their prefix lists, each in a group of its own."
  }

  assert {
    condition = alltrue([
      for rule in [aws_vpc_security_group_ingress_rule.cloudfront, aws_vpc_security_group_ingress_rule.route53] :
      rule.from_port == 443 && rule.to_port == 443 && rule.ip_protocol == "tcp"
    ])
    error_message = "The load balancer is open on 443 only."
  }

  assert {
    condition = (
      data.aws_ec2_managed_prefix_list.cloudfront.name == "com.amazonaws.global.cloudfront.origin-facing" &&
      data.aws_ec2_managed_prefix_list.route53.name == "com.amazonaws.eu-west-1.route53-healthchecks"
    )
    error_message = "The prefix lists are CloudFront's and this region's Route 53's."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.probe_ipv4) == 0 && length(aws_vpc_security_group_ingress_rule.probe_ipv6) == 0
    error_message = "Without probe ranges nobody else is admitted."
  }

  assert {
    condition = (
      aws_lb_listener.https.default_action[0].type == "fixed-response" &&
      aws_lb_listener.https.default_action[0].fixed_response[0].status_code == "403"
    )
    error_message = "What carries no origin secret is answered 403."
  }

  assert {
    condition = (
      aws_lb_listener.https.port == 443 && aws_lb_listener.https.protocol == "HTTPS" &&
      aws_lb_listener.https.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    )
    error_message = "One listener, HTTPS, TLS 1.2 at least."
  }

  assert {
    condition = (
      length(aws_lb_listener_rule.verified.condition) == 1 &&
      one(one(aws_lb_listener_rule.verified.condition).http_header).http_header_name == "X-Origin-Verify" &&
      toset(nonsensitive(one(one(aws_lb_listener_rule.verified.condition).http_header).values)) == toset(["secret-of-slot-a", "secret-of-slot-b"])
    )
    error_message = "Both origin secrets open the listener, and nothing else does."
  }

  assert {
    condition = (
      length(aws_lb_listener_rule.health.condition) == 1 &&
      tolist(one(one(aws_lb_listener_rule.health.condition).path_pattern).values) == tolist(["/health/edge"])
    )
    error_message = "Exactly /health/edge needs no secret: no wildcard, no other path."
  }

  assert {
    condition = (
      aws_lb_target_group.gateway.health_check[0].path == "/health/live" &&
      aws_lb_target_group.gateway.health_check[0].matcher == "200" &&
      aws_lb_target_group.gateway.target_type == "ip"
    )
    error_message = "Load balancers ask for liveness, so that lag never kills tasks."
  }

  assert {
    condition     = aws_lb.this.idle_timeout > 60
    error_message = "The load balancer must keep connections longer than CloudFront's 60 s."
  }

  assert {
    condition     = aws_lb.this.drop_invalid_header_fields && aws_lb.this.access_logs[0].enabled
    error_message = "Malformed headers are dropped, access is logged."
  }

  assert {
    condition = (
      aws_acm_certificate.origin.domain_name == "eu-west-1.origin.api.example.com" &&
      toset(aws_acm_certificate.origin.subject_alternative_names) == toset(["origin.api.example.com", "api.example.com"]) &&
      strcontains(aws_lb_listener.https.certificate_arn, ":eu-west-1:")
    )
    error_message = "The certificate covers the region's own host, the latency name and the public name, in the region."
  }

  # --- Tasks. ---

  assert {
    condition = (
      aws_vpc_security_group_ingress_rule.alb.security_group_id == "sg-tasks" &&
      aws_vpc_security_group_ingress_rule.alb.referenced_security_group_id == "sg-edge" &&
      aws_vpc_security_group_ingress_rule.alb.from_port == 8080 &&
      aws_vpc_security_group_ingress_rule.alb.cidr_ipv4 == null &&
      length(aws_vpc_security_group_ingress_rule.scrape) == 0
    )
    error_message = "Only the load balancer reaches the tasks."
  }

  assert {
    condition = toset([
      for rule in aws_vpc_security_group_egress_rule.postgres : "${rule.cidr_ipv4} ${rule.from_port}-${rule.to_port}"
    ]) == toset(["10.10.0.0/16 5432-5432", "10.20.0.0/16 5432-5432"])
    error_message = "Tasks reach the databases of all regions and no other port there."
  }

  assert {
    condition = (
      aws_ecs_service.gateway.network_configuration[0].assign_public_ip == false &&
      toset(aws_ecs_service.gateway.network_configuration[0].subnets) == toset(["subnet-c", "subnet-d"]) &&
      toset(aws_ecs_service.gateway.network_configuration[0].security_groups) == toset(["sg-tasks"])
    )
    error_message = "Tasks run in private subnets without public addresses."
  }

  assert {
    condition = alltrue([
      for container in jsondecode(aws_ecs_task_definition.gateway.container_definitions) :
      container.readonlyRootFilesystem && container.user == "10001:10001" && container.linuxParameters.capabilities.drop == ["ALL"]
    ])
    error_message = "Containers run as nobody in particular on a read-only root without capabilities."
  }

  assert {
    condition = alltrue([
      for target in aws_ecs_service.gateway.load_balancer : contains([
        for container in jsondecode(aws_ecs_task_definition.gateway.container_definitions) :
        "${container.name} ${one(container.portMappings).containerPort}"
      ], "${target.container_name} ${target.container_port}")
      ]) && length(aws_ecs_service.gateway.load_balancer) == 1 && (
      aws_lb_target_group.gateway.port == one(aws_ecs_service.gateway.load_balancer).container_port &&
      local.environment.LISTEN_ADDR == "0.0.0.0:${aws_lb_target_group.gateway.port}" &&
      aws_vpc_security_group_ingress_rule.alb.from_port == aws_lb_target_group.gateway.port &&
      aws_vpc_security_group_egress_rule.tasks.to_port == aws_lb_target_group.gateway.port
    )
    error_message = "The load balancer asks the container and port that the task definition has, and the gateway listens there."
  }

  assert {
    condition = alltrue([
      for action in concat(aws_lb_listener_rule.health.action, aws_lb_listener_rule.verified.action) :
      action.type == "forward" && action.target_group_arn == aws_lb_target_group.gateway.arn
    ]) && one(aws_ecs_service.gateway.load_balancer).target_group_arn == aws_lb_target_group.gateway.arn
    error_message = "Both rules of the listener forward to the service's target group."
  }

  assert {
    condition     = aws_ecs_task_definition.gateway.skip_destroy && aws_ecs_service.gateway.task_definition == aws_ecs_task_definition.gateway.arn
    error_message = "A replaced definition stays registered, to be rolled back to."
  }

  assert {
    condition = alltrue([
      for container in jsondecode(aws_ecs_task_definition.gateway.container_definitions) : container.stopTimeout > 35
    ])
    error_message = "A stopping task gets the drain delay (5 s) and the cap for requests in flight (30 s)."
  }

  assert {
    condition = alltrue([
      for container in jsondecode(aws_ecs_task_definition.gateway.container_definitions) :
      toset([for variable in container.secrets : variable.name]) == toset(["DATABASE_URL"]) &&
      length(setintersection([for variable in container.environment : variable.name], ["DATABASE_URL", "TOKEN_SECRET", "ADMIN_TOKEN"])) == 0
    ])
    error_message = "Secrets come from Secrets Manager, never as plain variables."
  }

  assert {
    condition     = local.environment.ADMIN_ADDR == "127.0.0.1:9090"
    error_message = "Without scrape ranges the admin listener stays on loopback."
  }

  assert {
    condition     = aws_ecs_service.gateway.deployment_circuit_breaker[0].rollback && aws_ecs_service.gateway.deployment_minimum_healthy_percent == 100
    error_message = "A release that does not come up is rolled back, and costs no capacity."
  }

  assert {
    condition     = aws_appautoscaling_target.gateway.min_capacity == 2 && aws_appautoscaling_target.gateway.max_capacity == 10
    error_message = "At least two tasks, at most what the database's connections allow."
  }

  assert {
    condition = toset([
      for policy in [aws_appautoscaling_policy.cpu, aws_appautoscaling_policy.requests] :
      policy.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type
    ]) == toset(["ECSServiceAverageCPUUtilization", "ALBRequestCountPerTarget"])
    error_message = "The service grows by CPU and by requests."
  }

  assert {
    condition = (
      toset(data.aws_iam_policy_document.secrets.statement[0].actions) == toset(["secretsmanager:GetSecretValue"]) &&
      toset(data.aws_iam_policy_document.secrets.statement[0].resources) == toset(["arn:aws:secretsmanager:eu-west-1:000000000000:secret:url"]) &&
      toset(data.aws_iam_policy_document.secrets.statement[1].resources) == toset(["arn:aws:kms:eu-west-1:000000000000:key/k"])
    )
    error_message = "The execution role reads exactly the task's secrets, under exactly the region's key."
  }

  assert {
    condition = (
      aws_cloudwatch_log_group.gateway.retention_in_days > 0 &&
      aws_cloudwatch_log_group.gateway.kms_key_id == "arn:aws:kms:eu-west-1:000000000000:key/k"
    )
    error_message = "Logs are encrypted and are forgotten one day."
  }

  assert {
    condition     = length(aws_ecs_task_definition.migrate) == 0
    error_message = "Nothing can migrate from a region without the administrator's URL."
  }

  # --- Alarms. ---

  assert {
    condition = toset([
      for alarm in [
        aws_cloudwatch_metric_alarm.alb_5xx, aws_cloudwatch_metric_alarm.unhealthy_hosts,
        aws_cloudwatch_metric_alarm.running_tasks, aws_cloudwatch_metric_alarm.certificate,
      ] : "${alarm.namespace} ${alarm.statistic} ${alarm.metric_name} ${alarm.comparison_operator} ${alarm.threshold}"
      ]) == toset([
      "AWS/ApplicationELB Sum HTTPCode_ELB_5XX_Count GreaterThanThreshold 10",
      "AWS/ApplicationELB Maximum UnHealthyHostCount GreaterThanThreshold 0",
      "ECS/ContainerInsights Minimum RunningTaskCount LessThanThreshold 2",
      "AWS/CertificateManager Minimum DaysToExpiry LessThanThreshold 30",
    ])
    error_message = "5xx, unhealthy hosts, missing tasks and the certificate are watched."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.target_5xx.comparison_operator == "GreaterThanThreshold" &&
      aws_cloudwatch_metric_alarm.target_5xx.threshold == 1 &&
      [for query in aws_cloudwatch_metric_alarm.target_5xx.metric_query : query.expression if query.return_data == true] == ["100 * FILL(errors, 0) / requests"] &&
      { for query in aws_cloudwatch_metric_alarm.target_5xx.metric_query : query.id => "${one(query.metric).metric_name} ${one(query.metric).stat}" if length(query.metric) == 1 } ==
      { errors = "HTTPCode_Target_5XX_Count Sum", requests = "RequestCount Sum" }
    )
    error_message = "More than 1 % of the answers alarm, not less."
  }

  assert {
    condition = alltrue([
      for alarm in [
        aws_cloudwatch_metric_alarm.target_5xx, aws_cloudwatch_metric_alarm.alb_5xx,
        aws_cloudwatch_metric_alarm.unhealthy_hosts, aws_cloudwatch_metric_alarm.running_tasks,
        aws_cloudwatch_metric_alarm.certificate,
      ] : tolist(alarm.alarm_actions) == tolist(["arn:aws:sns:eu-west-1:000000000000:alarms"])
    ])
    error_message = "Every alarm notifies the region's topic."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.running_tasks.treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.running_tasks.threshold == 2
    error_message = "No tasks at all means no data, which must alarm."
  }

  assert {
    condition     = one(aws_ecs_cluster.this.setting).name == "containerInsights" && one(aws_ecs_cluster.this.setting).value == "enabled"
    error_message = "The running-tasks alarm needs Container Insights."
  }
}

run "with_probes_scraping_and_migration" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  variables {
    probe_cidrs      = ["192.0.2.7/32"]
    probe_ipv6_cidrs = ["2001:db8::/64"]
    scrape_cidrs     = ["10.20.0.0/16"]
    migration        = { url_secret_arn = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:admin" }

    further_secret_arns = ["arn:aws:secretsmanager:eu-west-1:000000000000:secret:replica-url"]
  }

  assert {
    condition     = toset(data.aws_iam_policy_document.secrets.statement[0].resources) == toset([for name in ["url", "admin", "replica-url"] : "arn:aws:secretsmanager:eu-west-1:000000000000:secret:${name}"])
    error_message = "Tasks of the definition before a promotion can still start."
  }

  assert {
    condition = (
      one(values(aws_vpc_security_group_ingress_rule.probe_ipv4)).cidr_ipv4 == "192.0.2.7/32" &&
      one(values(aws_vpc_security_group_ingress_rule.probe_ipv4)).from_port == 443 &&
      one(values(aws_vpc_security_group_ingress_rule.probe_ipv6)).cidr_ipv6 == "2001:db8::/64" &&
      one(values(aws_vpc_security_group_ingress_rule.probe_ipv6)).security_group_id == "sg-probes"
    )
    error_message = "dist-test.sh is admitted from its ranges, of both families."
  }

  assert {
    condition = (
      local.environment.ADMIN_ADDR == "0.0.0.0:9090" &&
      one(values(aws_vpc_security_group_ingress_rule.scrape)).cidr_ipv4 == "10.20.0.0/16" &&
      one(values(aws_vpc_security_group_ingress_rule.scrape)).from_port == 9090
    )
    error_message = "Prometheus reads the admin listener from its ranges."
  }

  assert {
    condition = alltrue([
      for container in jsondecode(aws_ecs_task_definition.migrate[0].container_definitions) :
      container.command == ["migrate"] && container.secrets == [{ name = "DATABASE_URL", valueFrom = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:admin" }]
    ])
    error_message = "The migrate task runs as the administrator and as nothing else."
  }
}

run "an_unprotected_load_balancer_can_be_deleted" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  variables {
    protected = false
  }

  assert {
    condition     = !aws_lb.this.enable_deletion_protection
    error_message = "protected = false must take the protection off."
  }
}

run "a_region_that_is_not_the_providers_is_refused" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  variables {
    region = "us-east-1"
  }

  expect_failures = [aws_ecs_task_definition.gateway]
}

run "a_single_origin_secret_is_refused" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  variables {
    origin_secrets = ["only-one"]
  }

  expect_failures = [var.origin_secrets]
}

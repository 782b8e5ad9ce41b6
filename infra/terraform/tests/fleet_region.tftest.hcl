# What one region has for the fleet: its name, certificate, port, last traffic policy, alarms.

mock_provider "aws" {
  source          = "./tests/mocks/eu-west-1"
  override_during = plan
}

run "region" {
  command = plan

  module {
    source = "./modules/fleet"
  }

  variables {
    name                   = "tidegate"
    vpc_id                 = "vpc-eu-west-1"
    subnet_ids             = ["subnet-c", "subnet-d"]
    task_security_group_id = "sg-tasks"
    kms_key_arn            = "arn:aws:kms:eu-west-1:000000000000:key/k"
    alarms                 = true
    alarm_topic_arn        = "arn:aws:sns:eu-west-1:000000000000:alarms"
  }

  assert {
    condition = (
      output.host == "gateways.eu-west-1.tidegate.internal" && output.zone_id == "Z-eu-west-1" &&
      aws_service_discovery_private_dns_namespace.this.vpc == "vpc-eu-west-1" &&
      one(aws_service_discovery_service.gateways.dns_config).namespace_id == "ns-eu-west-1"
    )
    error_message = "The name is the region's, in a private zone of its network."
  }

  assert {
    condition = (
      one(aws_service_discovery_service.gateways.dns_config).routing_policy == "MULTIVALUE" &&
      one(one(aws_service_discovery_service.gateways.dns_config).dns_records).type == "A" &&
      one(one(aws_service_discovery_service.gateways.dns_config).dns_records).ttl <= 5
    )
    error_message = "The name resolves to all gateways, and to new ones within the 5 s after which it is asked again."
  }

  assert {
    condition = (
      aws_secretsmanager_secret.certificate.name == "tidegate/fleet-certificate" &&
      aws_secretsmanager_secret.certificate.kms_key_id == "arn:aws:kms:eu-west-1:000000000000:key/k" &&
      aws_secretsmanager_secret.certificate.recovery_window_in_days == 30 &&
      length(aws_secretsmanager_secret.certificate.replica) == 0
    )
    error_message = "The certificate's key is the region's alone, under its key."
  }

  assert {
    condition = (
      aws_efs_file_system.state.encrypted && aws_efs_file_system.state.kms_key_id == "arn:aws:kms:eu-west-1:000000000000:key/k" &&
      aws_efs_mount_target.state[*].subnet_id == ["subnet-c", "subnet-d"] &&
      aws_vpc_security_group_ingress_rule.state.referenced_security_group_id == "sg-tasks" &&
      aws_vpc_security_group_ingress_rule.state.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.state.from_port == 2049
    )
    error_message = "The last traffic policy is encrypted, within reach in every zone, and for the tasks alone."
  }

  assert {
    condition = (
      one(aws_efs_access_point.state.posix_user).uid == 10001 && one(aws_efs_access_point.state.posix_user).gid == 10001 &&
      one(one(aws_efs_access_point.state.root_directory).creation_info).owner_uid == 10001 &&
      one(one(aws_efs_access_point.state.root_directory).creation_info).permissions == "0700"
    )
    error_message = "The image's user, and no other, may write the state."
  }

  assert {
    condition = {
      for key, alarm in aws_cloudwatch_metric_alarm.fleet :
      key => "${alarm.metric_name} ${alarm.statistic} ${alarm.comparison_operator} ${alarm.threshold} ${alarm.evaluation_periods} ${alarm.treat_missing_data}"
      } == {
      fleet-unreachable     = "tidegate_region_state Maximum GreaterThanThreshold 0 5 notBreaching"
      fleet-suspect         = "tidegate_fleet_suspect Maximum GreaterThanThreshold 0 1 notBreaching"
      fleet-certificate     = "tidegate_fleet_certificate_expires_seconds Minimum LessThanThreshold 604800 10 breaching"
      fleet-records-dropped = "tidegate_fleet_records_dropped_total Sum GreaterThanThreshold 0 5 notBreaching"
      rollout-stopped       = "tidegate_traffic_rollouts_total Sum GreaterThanThreshold 0 1 notBreaching"
      rollout-expired       = "tidegate_traffic_rollouts_total Sum GreaterThanThreshold 0 1 notBreaching"
      rollout-lost          = "tidegate_traffic_rollouts_total Sum GreaterThanThreshold 0 1 notBreaching"
      revision-refused      = "tidegate_traffic_revision_refused_total Sum GreaterThanThreshold 0 1 notBreaching"
      revision-unplaced     = "tidegate_traffic_unplaced Maximum GreaterThanThreshold 0 1 notBreaching"
    }
    error_message = "Reachability, suspicion, the certificate, dropped records, rollouts, refused and unplaced revisions are watched."
  }

  assert {
    condition = alltrue([
      for key, alarm in aws_cloudwatch_metric_alarm.fleet : alarm.namespace == "tidegate" && alarm.period == 60 &&
      alarm.dimensions == tomap(merge({ job = "tidegate" },
        key == "fleet-unreachable" ? { state = "unreachable" } : {},
        startswith(key, "rollout-") ? { outcome = trimprefix(key, "rollout-") } : {},
      ))
    ])
    error_message = "Alarms name exactly the dimensions that the agent writes."
  }

  assert {
    condition = (
      [for query in aws_cloudwatch_metric_alarm.revisions_differ[0].metric_query : query.expression if query.return_data == true] == ["newest - oldest"] &&
      { for query in aws_cloudwatch_metric_alarm.revisions_differ[0].metric_query : query.id => "${one(query.metric).metric_name} ${one(query.metric).stat} ${one(query.metric).dimensions.stage}" if length(query.metric) == 1 } ==
      { newest = "tidegate_traffic_revision Maximum active", oldest = "tidegate_traffic_revision Minimum active" } &&
      aws_cloudwatch_metric_alarm.revisions_differ[0].comparison_operator == "GreaterThanThreshold" &&
      aws_cloudwatch_metric_alarm.revisions_differ[0].threshold == 0 && aws_cloudwatch_metric_alarm.revisions_differ[0].evaluation_periods == 10
    )
    error_message = "Gateways that decide by different revisions for ten minutes alarm."
  }

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.fleet), aws_cloudwatch_metric_alarm.revisions_differ) :
      tolist(alarm.alarm_actions) == tolist(["arn:aws:sns:eu-west-1:000000000000:alarms"])
    ])
    error_message = "Every alarm notifies the region's topic."
  }
}

run "a_region_without_the_agent_has_no_alarm_that_could_never_fire" {
  command = plan

  module {
    source = "./modules/fleet"
  }

  variables {
    name                   = "tidegate"
    vpc_id                 = "vpc-eu-west-1"
    subnet_ids             = ["subnet-c", "subnet-d"]
    task_security_group_id = "sg-tasks"
    kms_key_arn            = "arn:aws:kms:eu-west-1:000000000000:key/k"
    alarms                 = false
    alarm_topic_arn        = "arn:aws:sns:eu-west-1:000000000000:alarms"
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.fleet) + length(aws_cloudwatch_metric_alarm.revisions_differ) == 0
    error_message = "Nothing to watch, no alarms."
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
    values          = { id = "pl-cloudfront", entries = [{ cidr = "130.176.0.0/16", description = "" }, { cidr = "120.52.22.96/27", description = "" }] }
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
    migration               = { url_secret_arn = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:admin" }
    fleet_cidrs             = ["10.10.64.0/18", "10.20.64.0/18"]
    proxy_cidrs             = ["10.10.0.0/16"]
    fleet = {
      name            = "shop"
      trusted_keys    = ["Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="]
      hosts           = { eu-west-1 = "gateways.eu.internal", us-east-1 = "gateways.us.internal" }
      agent_image     = "registry.test/agent@sha256:1111111111111111111111111111111111111111111111111111111111111111"
      registry_arn    = "arn:aws:servicediscovery:eu-west-1:000000000000:service/srv"
      certificate_arn = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:certificate"
      state = {
        file_system_id    = "fs-1"
        file_system_arn   = "arn:aws:elasticfilesystem:eu-west-1:000000000000:file-system/fs-1"
        access_point_id   = "fsap-1"
        access_point_arn  = "arn:aws:elasticfilesystem:eu-west-1:000000000000:access-point/fsap-1"
        security_group_id = "sg-state"
      }
    }
  }

  # --- The port. ---

  assert {
    condition = toset([
      for rule in aws_vpc_security_group_ingress_rule.fleet : "${rule.security_group_id} ${rule.cidr_ipv4} ${rule.ip_protocol} ${rule.from_port}-${rule.to_port}"
    ]) == toset(["sg-tasks 10.10.64.0/18 tcp 8443-8443", "sg-tasks 10.20.64.0/18 tcp 8443-8443"])
    error_message = "The fleet's gateways, and nothing else, reach the port."
  }

  assert {
    condition = toset([
      for rule in aws_vpc_security_group_egress_rule.fleet : "${rule.security_group_id} ${rule.cidr_ipv4} ${rule.ip_protocol} ${rule.from_port}-${rule.to_port}"
    ]) == toset(["sg-tasks 10.10.64.0/18 tcp 8443-8443", "sg-tasks 10.20.64.0/18 tcp 8443-8443"])
    error_message = "Tasks reach the fleet's gateways, their siblings too."
  }

  assert {
    condition = (
      [for mapping in jsondecode(aws_ecs_task_definition.gateway.container_definitions)[0].portMappings : mapping.containerPort] == [8080, 8443] &&
      local.environment.FLEET_ADDR == "0.0.0.0:8443" && one(aws_ecs_service.gateway.load_balancer).container_port == 8080
    )
    error_message = "The gateway listens for peers beside its public port, which alone the load balancer asks."
  }

  assert {
    condition     = one(aws_ecs_service.gateway.service_registries).registry_arn == "arn:aws:servicediscovery:eu-west-1:000000000000:service/srv"
    error_message = "Tasks are registered under the region's name."
  }

  # --- Files. ---

  assert {
    condition = (
      local.gateway.environment == [for name, value in local.environment : { name = name, value = value }] &&
      { for name in ["FLEET_CERT", "FLEET_KEY", "FLEET_CA", "TIDEGATE_CONFIG"] : name => local.environment[name] } == {
        FLEET_CERT      = "/run/fleet/certificate.pem"
        FLEET_KEY       = "/run/fleet/key.pem"
        FLEET_CA        = "/run/fleet/ca.pem"
        TIDEGATE_CONFIG = "/run/fleet/tidegate.toml"
      }
    )
    error_message = "The gateway reads its certificate and configuration where they are written."
  }

  assert {
    condition = [
      for container in jsondecode(aws_ecs_task_definition.gateway.container_definitions) :
      {
        user     = container.user, essential = container.essential, readonly = container.readonlyRootFilesystem
        drop     = container.linuxParameters.capabilities.drop, mounts = container.mountPoints, image = container.image
        command  = concat(container.entryPoint, container.command)
        secrets  = { for secret in container.secrets : secret.name => secret.valueFrom }
        settings = { for setting in container.environment : setting.name => setting.value }
      } if container.name == "fleet-files"
      ] == [
      {
        user     = "0:10001", essential = false, readonly = true, drop = ["ALL"]
        mounts   = [{ sourceVolume = "fleet", containerPath = "/run/fleet", readOnly = false }]
        image    = var.image
        command  = ["bash", "-euc", "umask 027; cd /run/fleet; printf '%s\\n' \"$${CA}\" >ca.pem; printf '%s\\n' \"$${CERTIFICATE}\" >certificate.pem; printf '%s\\n' \"$${KEY}\" >key.pem; printf '%s\\n' \"$${CONFIGURATION}\" >tidegate.toml"]
        secrets  = { for part in ["certificate", "key", "ca"] : upper(part) => "arn:aws:secretsmanager:eu-west-1:000000000000:secret:certificate:${part}::" }
        settings = { CONFIGURATION = local.fleet_configuration }
      }
    ]
    error_message = "One container writes certificate, key, CA and configuration, for the image's group alone."
  }

  assert {
    condition = alltrue([
      for container in jsondecode(aws_ecs_task_definition.gateway.container_definitions) :
      container.dependsOn == [{ containerName = "fleet-files", condition = "SUCCESS" }] && container.readonlyRootFilesystem &&
      { for mount in container.mountPoints : mount.containerPath => "${mount.sourceVolume} ${mount.readOnly}" } == { "/run/fleet" = "fleet true", "/var/lib/tidegate" = "state false" }
      if container.name == "gateway"
    ])
    error_message = "The gateway starts when its files are there; it may write its state and nothing else."
  }

  assert {
    condition = (
      toset([for volume in aws_ecs_task_definition.gateway.volume : volume.name]) == toset(["fleet", "state"]) &&
      [
        for volume in aws_ecs_task_definition.gateway.volume :
        [for efs in volume.efs_volume_configuration : "${efs.file_system_id} ${efs.transit_encryption} ${one(efs.authorization_config).access_point_id} ${one(efs.authorization_config).iam}"]
        if volume.name == "state"
      ] == [["fs-1 ENABLED fsap-1 ENABLED"]]
    )
    error_message = "The state outlives the task, and travels encrypted."
  }

  assert {
    condition     = strcontains(local.fleet_configuration, "[server]\ntrusted_proxies = [\"10.10.0.0/16\",\"120.52.22.96/27\",\"130.176.0.0/16\"]\n")
    error_message = "Policies see the client behind CloudFront and the load balancer."
  }

  assert {
    condition     = strcontains(local.fleet_configuration, "state_dir = \"/var/lib/tidegate\"\n")
    error_message = "The state is kept where the file system is mounted."
  }

  assert {
    condition = (
      strcontains(local.fleet_configuration, "name = \"shop\"\n") &&
      strcontains(local.fleet_configuration, "trusted_keys = [\"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\"]\n")
    )
    error_message = "The fleet's name and whose signatures count are in the configuration."
  }

  assert {
    condition = (
      aws_vpc_security_group_egress_rule.state[0].referenced_security_group_id == "sg-state" &&
      aws_vpc_security_group_egress_rule.state[0].from_port == 2049 &&
      toset(data.aws_iam_policy_document.state[0].statement[0].actions) == toset(["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]) &&
      toset(data.aws_iam_policy_document.state[0].statement[0].resources) == toset(["arn:aws:elasticfilesystem:eu-west-1:000000000000:file-system/fs-1"]) &&
      toset(one(data.aws_iam_policy_document.state[0].statement[0].condition).values) == toset(["arn:aws:elasticfilesystem:eu-west-1:000000000000:access-point/fsap-1"])
    )
    error_message = "Tasks reach their state, by its access point only."
  }

  assert {
    condition     = contains(data.aws_iam_policy_document.secrets.statement[0].resources, "arn:aws:secretsmanager:eu-west-1:000000000000:secret:certificate")
    error_message = "The execution role may read the certificate."
  }

  # --- Rollouts. ---

  assert {
    condition = [
      for container in jsondecode(aws_ecs_task_definition.policy[0].container_definitions) :
      [container.name, container.command, container.readonlyRootFilesystem, container.secrets, length([for setting in container.environment : 1 if startswith(setting.name, "FLEET_")])]
    ] == [["policy", ["status"], true, [{ name = "DATABASE_URL", valueFrom = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:admin" }], 0]]
    error_message = "A pipeline rolls out on the primary; without a command it shows the status."
  }

  assert {
    condition     = toset([for container in jsondecode(aws_ecs_task_definition.migrate[0].container_definitions) : container.name]) == toset(["migrate"])
    error_message = "The migrate task needs no certificate."
  }

  # --- Metrics. ---

  assert {
    condition = [
      for container in jsondecode(aws_ecs_task_definition.gateway.container_definitions) :
      [container.image, container.essential, keys({ for setting in container.environment : setting.name => 1 })] if container.name == "metrics"
    ] == [[var.fleet.agent_image, false, ["CW_CONFIG_CONTENT", "PROMETHEUS_CONFIG_CONTENT"]]]
    error_message = "The agent runs beside the gateway, which does not end with it."
  }

  assert {
    condition = (
      local.agent_scrapes.scrape_configs[0].job_name == "tidegate" && local.agent_scrapes.scrape_configs[0].static_configs[0].targets == ["127.0.0.1:9090"] &&
      local.environment.ADMIN_ADDR == "127.0.0.1:9090"
    )
    error_message = "The agent reads the admin listener on loopback, which stays closed to others."
  }

  assert {
    condition = merge([
      for declared in local.agent_configuration.logs.metrics_collected.prometheus.emf_processor.metric_declaration :
      { for metric in declared.metric_selectors : metric => join(" ", one(declared.dimensions)) }
      ]...) == {
      "^tidegate_region_state$"                      = "job state"
      "^tidegate_fleet_suspect$"                     = "job"
      "^tidegate_fleet_certificate_expires_seconds$" = "job"
      "^tidegate_fleet_records_dropped_total$"       = "job"
      "^tidegate_traffic_rollouts_total$"            = "job outcome"
      "^tidegate_traffic_revision_refused_total$"    = "job"
      "^tidegate_traffic_unplaced$"                  = "job"
      "^tidegate_traffic_revision$"                  = "job stage"
    } && local.agent_configuration.logs.metrics_collected.prometheus.emf_processor.metric_namespace == "tidegate"
    error_message = "Each metric that an alarm watches arrives, with the dimensions that the alarm names."
  }

  assert {
    condition = (
      aws_cloudwatch_log_group.metrics[0].name == "/tidegate/metrics" &&
      local.agent_configuration.logs.metrics_collected.prometheus.log_group_name == "/tidegate/metrics" &&
      aws_cloudwatch_log_group.metrics[0].kms_key_id == "arn:aws:kms:eu-west-1:000000000000:key/k" &&
      contains(data.aws_iam_policy_document.metrics[0].statement[0].actions, "logs:PutLogEvents") &&
      !contains(data.aws_iam_policy_document.metrics[0].statement[0].resources, "*")
    )
    error_message = "The agent may write to its own encrypted log group and nowhere else."
  }
}

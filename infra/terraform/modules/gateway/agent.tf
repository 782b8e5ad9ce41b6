# The CloudWatch agent beside the gateway (var.fleet.agent_image; null without it): it reads /metrics on
# loopback, where no other task can, and brings what the alarms of modules/fleet watch to CloudWatch.

locals {
  agent_image = one(var.fleet[*].agent_image)

  # Label sets become dimensions; an alarm names all of a set.
  agent_metrics = [
    { dimensions = [["job"]], metrics = [
      "tidegate_fleet_suspect", "tidegate_fleet_certificate_expires_seconds", "tidegate_fleet_records_dropped_total",
      "tidegate_traffic_revision_refused_total", "tidegate_traffic_unplaced",
    ] },
    { dimensions = [["job", "state"]], metrics = ["tidegate_region_state"] },
    { dimensions = [["job", "outcome"]], metrics = ["tidegate_traffic_rollouts_total"] },
    { dimensions = [["job", "stage"]], metrics = ["tidegate_traffic_revision"] },
  ]

  agent_configuration = {
    logs = {
      metrics_collected = {
        prometheus = {
          prometheus_config_path = "env:PROMETHEUS_CONFIG_CONTENT"
          log_group_name         = local.agent_log_group
          emf_processor = {
            metric_namespace = var.name
            metric_declaration = [
              for declared in local.agent_metrics : {
                source_labels    = ["job"]
                label_matcher    = "^tidegate$"
                dimensions       = declared.dimensions
                metric_selectors = [for metric in declared.metrics : "^${metric}$"]
              }
            ]
          }
        }
      }
    }
  }

  # YAML takes JSON.
  agent_scrapes = {
    global         = { scrape_interval = "30s", scrape_timeout = "10s" }
    scrape_configs = [{ job_name = "tidegate", static_configs = [{ targets = ["127.0.0.1:${local.admin_port}"] }] }]
  }

  agent_container = {
    name             = "metrics"
    image            = local.agent_image
    essential        = false
    logConfiguration = local.container.logConfiguration
    environment = [
      { name = "CW_CONFIG_CONTENT", value = jsonencode(local.agent_configuration) },
      { name = "PROMETHEUS_CONFIG_CONTENT", value = jsonencode(local.agent_scrapes) },
    ]
  }

  agent_log_group = "/${var.name}/metrics"
}

resource "aws_cloudwatch_log_group" "metrics" {
  count = local.agent_image == null ? 0 : 1

  name              = local.agent_log_group
  retention_in_days = 365
  kms_key_id        = var.kms_key_arn
}

resource "aws_iam_role_policy" "metrics" {
  count = local.agent_image == null ? 0 : 1

  name   = "write-metrics"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.metrics[0].json
}

data "aws_iam_policy_document" "metrics" {
  count = local.agent_image == null ? 0 : 1

  statement {
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.metrics[0].arn}:*"]
  }
}

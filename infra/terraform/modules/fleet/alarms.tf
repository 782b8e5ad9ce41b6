# What the gateways' metrics say, once an agent beside each of them brings these to CloudWatch
# (modules/gateway, agent.tf). The same as in infra/prometheus/alerts.yml, for one region; each alarm's
# meaning and what to do about it stand in infra/README.md under the same name.

locals {
  # An alarm watches one outcome.
  rollouts = {
    for outcome, meaning in {
      stopped = "A rollout of the traffic policy was stopped: it was worse, or changed too much."
      expired = "A rollout of the traffic policy has lost its leader."
      lost    = "A rollout of the traffic policy was lost in a promotion."
      } : "rollout-${outcome}" => {
      description = meaning
      metric      = "tidegate_traffic_rollouts_total"
      labels      = { outcome = outcome }
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      minutes     = 1
      missing     = "notBreaching"
    }
  }

  watched = merge(local.rollouts, {
    fleet-unreachable = {
      description = "Another region cannot be reached from this one."
      metric      = "tidegate_region_state"
      labels      = { state = "unreachable" }
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      minutes     = 5
      missing     = "notBreaching"
    }
    fleet-suspect = {
      description = "A gateway has lost most other regions at once and suspects itself."
      metric      = "tidegate_fleet_suspect"
      labels      = {}
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      minutes     = 1
      missing     = "notBreaching"
    }
    # Every gateway has this metric all the time: without it, nothing is watched.
    fleet-certificate = {
      description = "The fleet's certificate ends within 7 days, or no gateway's metrics arrive."
      metric      = "tidegate_fleet_certificate_expires_seconds"
      labels      = {}
      statistic   = "Minimum"
      comparison  = "LessThanThreshold"
      threshold   = 7 * 86400
      minutes     = 10
      missing     = "breaching"
    }
    fleet-records-dropped = {
      description = "What a peer says about its health is dropped."
      metric      = "tidegate_fleet_records_dropped_total"
      labels      = {}
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      minutes     = 5
      missing     = "notBreaching"
    }
    revision-unplaced = {
      description = "A gateway cannot tell whether its traffic policy has survived the last failover."
      metric      = "tidegate_traffic_unplaced"
      labels      = {}
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      minutes     = 1
      missing     = "notBreaching"
    }
    revision-refused = {
      description = "A gateway does not take over a revision of the traffic policy."
      metric      = "tidegate_traffic_revision_refused_total"
      labels      = {}
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      minutes     = 1
      missing     = "notBreaching"
    }
  })
}

resource "aws_cloudwatch_metric_alarm" "fleet" {
  for_each = var.alarms ? local.watched : {}

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = var.name
  metric_name         = each.value.metric
  dimensions          = merge({ job = "tidegate" }, each.value.labels)
  statistic           = each.value.statistic
  period              = 60
  evaluation_periods  = each.value.minutes
  threshold           = each.value.threshold
  comparison_operator = each.value.comparison
  treat_missing_data  = each.value.missing
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

# Among this region's gateways: an alarm cannot compare regions.
resource "aws_cloudwatch_metric_alarm" "revisions_differ" {
  count = var.alarms ? 1 : 0

  alarm_name          = "${var.name}-revisions-differ"
  alarm_description   = "Gateways have decided by different revisions of the traffic policy for ten minutes."
  evaluation_periods  = 10
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]

  metric_query {
    id          = "apart"
    label       = "revisions apart"
    expression  = "newest - oldest"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { newest = "Maximum", oldest = "Minimum" }

    content {
      id = metric_query.key

      metric {
        namespace   = var.name
        metric_name = "tidegate_traffic_revision"
        dimensions  = { job = "tidegate", stage = "active" }
        stat        = metric_query.value
        period      = 60
      }
    }
  }
}

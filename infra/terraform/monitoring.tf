# Alarms about what is global: health checks, the distribution, its certificate. Their metrics exist in
# us-east-1 only. Each region's own alarms are in modules/gateway and modules/postgres.

resource "aws_cloudwatch_metric_alarm" "health_check" {
  provider = aws.us_east_1
  for_each = aws_route53_health_check.region

  alarm_name          = "${var.name}-${each.key}-health-check"
  alarm_description   = "Route 53 has taken ${each.key} out of DNS."
  namespace           = "AWS/Route53"
  metric_name         = "HealthCheckStatus"
  dimensions          = { HealthCheckId = each.value.id }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 2
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [module.us_east_1.alarm_topic_arn]
  ok_actions          = [module.us_east_1.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "edge_5xx" {
  provider = aws.us_east_1

  alarm_name        = "${var.name}-edge-5xx"
  alarm_description = "More than 1 % of CloudFront's answers are 5xx."
  namespace         = "AWS/CloudFront"
  metric_name       = "5xxErrorRate"
  dimensions = {
    DistributionId = aws_cloudfront_distribution.edge.id
    Region         = "Global"
  }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 3
  threshold           = 1
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [module.us_east_1.alarm_topic_arn]
  ok_actions          = [module.us_east_1.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "viewer_certificate" {
  provider = aws.us_east_1

  alarm_name          = "${var.name}-viewer-certificate"
  alarm_description   = "CloudFront's certificate ends within 30 days: its renewal does not work."
  namespace           = "AWS/CertificateManager"
  metric_name         = "DaysToExpiry"
  dimensions          = { CertificateArn = aws_acm_certificate.viewer.arn }
  statistic           = "Minimum"
  period              = 86400
  evaluation_periods  = 1
  threshold           = 30
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "missing"
  alarm_actions       = [module.us_east_1.alarm_topic_arn]
  ok_actions          = [module.us_east_1.alarm_topic_arn]
}

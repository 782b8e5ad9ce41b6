# Each alarm's meaning and what to do about it stand in infra/README.md under the same name.

locals {
  watched = {
    storage-unhealthy = {
      description = "A task behind the S3 listener fails its liveness check."
      namespace   = "AWS/NetworkELB"
      metric      = "UnHealthyHostCount"
      dimensions  = { LoadBalancer = aws_lb.this.arn_suffix, TargetGroup = aws_lb_target_group.this.arn_suffix }
      statistic   = "Maximum"
      threshold   = 0
      minutes     = 5
    }
    # A task whose spool is full answers 503 when a bucket fails.
    storage-spool = {
      description = "The tasks' disks, which have the spool, are over 80 % full."
      namespace   = "ECS/ContainerInsights"
      metric      = "EphemeralStorageUtilized"
      dimensions  = { ClusterName = var.name, ServiceName = "gateway" }
      statistic   = "Maximum"
      threshold   = 0.8 * var.spool_gib
      minutes     = 5
    }
    storage-bucket-errors = {
      description = "The region's bucket itself answers 5xx."
      namespace   = "AWS/S3"
      metric      = "5xxErrors"
      dimensions  = { BucketName = aws_s3_bucket.this.id, FilterId = aws_s3_bucket_metric.this.name }
      statistic   = "Sum"
      threshold   = 10
      minutes     = 5
    }
  }
}

resource "aws_s3_bucket_metric" "this" {
  bucket = aws_s3_bucket.this.id
  name   = "all"
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.watched

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = 60
  evaluation_periods  = each.value.minutes
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

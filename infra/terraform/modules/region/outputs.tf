locals {
  network = {
    region              = var.region
    vpc_id              = module.network.vpc_id
    vpc_cidr            = module.network.vpc_cidr
    peered_route_tables = module.network.peered_route_tables
  }
}

output "region" {
  description = "The region the provider of this module works in."
  value       = data.aws_region.current.name
}

output "network" {
  description = "What a peering connection needs."
  value       = local.network
}

output "database" {
  description = "The PostgreSQL instance: ARN, host, source and key."
  value = {
    arn             = module.postgres.arn
    host            = module.postgres.host
    replicates_from = module.postgres.replicates_from
    kms_key_arn     = module.postgres.kms_key_arn
  }
}

output "origin" {
  description = "The region's own host name and its load balancer."
  value = {
    host = local.own_host
    alb  = module.gateway.alb
  }
}

output "certificate_validation" {
  description = "Validation records of the origin certificate by domain name."
  value       = module.gateway.certificate_validation
}

output "kms_key_arn" {
  description = "The region's key."
  value       = aws_kms_key.this.arn
}

output "alarm_topic_arn" {
  description = "The region's alarm topic."
  value       = aws_sns_topic.alarms.arn
}

output "log_bucket_arn" {
  description = "The region's log bucket."
  value       = aws_s3_bucket.logs.arn
}

output "gateway" {
  description = "How the gateway tasks are started."
  value       = module.gateway.task
}

output "fleet" {
  description = "The private zone and the name of the region's gateways; null without a fleet."
  value       = one([for made in module.fleet : { zone_id = made.zone_id, host = made.host }])
}

output "storage" {
  description = "The name of the S3 listener and the region's bucket; null without object storage."
  value       = one([for made in module.storage : { host = made.host, bucket = made.bucket }])
}

output "operations" {
  description = "What the commands of infra/README.md need to know of this region."
  value = {
    cluster             = module.gateway.cluster
    task_security_group = module.gateway.task_security_group_id
    task_subnets        = module.network.private_subnet_ids
  }
}

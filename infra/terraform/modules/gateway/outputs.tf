output "alb" {
  description = "What DNS records point to."
  value = {
    dns_name = aws_lb.this.dns_name
    zone_id  = aws_lb.this.zone_id
    arn      = aws_lb.this.arn
  }
}

output "certificate_validation" {
  description = "Validation records of the certificate by domain name."
  value       = local.validation
}

output "task" {
  description = "How the tasks are started: image, plain environment and secrets by variable, the fleet's configuration, how many at most."
  value = {
    image       = local.container.image
    environment = local.environment
    secrets     = var.secret_arns
    migrates    = var.migration != null
    fleet       = local.fleet_configuration
    count_max   = var.task_count_max
  }
}

output "cluster" {
  description = "ECS cluster, for deployments and the migrate task."
  value       = aws_ecs_cluster.this.name
}

output "ports" {
  description = "Ports of the tasks: the API with its health checks, and S3."
  value       = { public = local.public_port, storage = local.storage_port }
}

output "task_security_group_id" {
  description = "Security group of the tasks, for the migrate task."
  value       = aws_security_group.tasks.id
}

output "base_url" {
  description = "What clients call."
  value       = "https://${var.domain_name}"
}

output "distribution_id" {
  description = "For invalidations."
  value       = aws_cloudfront_distribution.edge.id
}

output "repository_url" {
  description = "Where the image is pushed to."
  value       = aws_ecr_repository.gateway.repository_url
}

output "regional_hosts" {
  description = "Each region's own host; dist-test.sh takes their addresses."
  value       = { for region, deployed in local.deployed : region => deployed.origin.host }
}

output "storage" {
  description = "Each region's S3 listener and bucket; null without object storage."
  value       = var.storage == null ? null : { for region, deployed in local.deployed : region => deployed.storage }
}

output "operations" {
  description = "Cluster, security group and subnets of each region, for the commands of infra/README.md."
  value       = { for region, deployed in local.deployed : region => deployed.operations }
}

output "databases" {
  description = "ARN and host of each region's PostgreSQL."
  value       = { for region, deployed in local.deployed : region => deployed.database }
}

output "migrate_network" {
  description = "Where the migrate task runs, for `aws ecs run-task`."
  value = format("awsvpcConfiguration={subnets=[%s],securityGroups=[%s]}",
  join(",", local.deployed[local.home_region].operations.task_subnets), local.deployed[local.home_region].operations.task_security_group)
}

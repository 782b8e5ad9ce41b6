output "zone_id" {
  description = "The private zone with the gateways' name, for the other regions' networks."
  value       = aws_service_discovery_private_dns_namespace.this.hosted_zone
}

output "host" {
  description = "The name that resolves to all gateways of the region."
  value       = "${aws_service_discovery_service.gateways.name}.${aws_service_discovery_private_dns_namespace.this.name}"
}

output "registry_arn" {
  description = "Where ECS registers the tasks."
  value       = aws_service_discovery_service.gateways.arn
}

output "certificate_arn" {
  description = "The secret with the certificate, its key and the CA."
  value       = aws_secretsmanager_secret.certificate.arn
}

output "state" {
  description = "The file system for the last traffic policy, and who may reach it."
  value = {
    file_system_id    = aws_efs_file_system.state.id
    file_system_arn   = aws_efs_file_system.state.arn
    access_point_id   = aws_efs_access_point.state.id
    access_point_arn  = aws_efs_access_point.state.arn
    security_group_id = aws_security_group.state.id
  }

  # A task that mounts it before does not start.
  depends_on = [aws_efs_mount_target.state]
}

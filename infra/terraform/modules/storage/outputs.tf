output "host" {
  description = "The name of the S3 listener."
  value       = local.host
}

output "bucket" {
  description = "What `tidegate storage bucket add` takes: s3://NAME."
  value       = aws_s3_bucket.this.bucket
}

output "target_group_arn" {
  description = "Where the tasks answer S3."
  value       = aws_lb_target_group.this.arn
}

output "security_group_id" {
  description = "Security group of the load balancer."
  value       = aws_security_group.clients.id
}

output "version_arn" {
  description = "ARN of the secret, known once it holds a value."
  value       = aws_secretsmanager_secret_version.this.arn
}

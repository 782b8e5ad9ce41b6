output "version_arn" {
  description = "ARN of the secret, known only once it holds the value; unknown while a new one is written."
  value       = aws_secretsmanager_secret_version.this.arn
}

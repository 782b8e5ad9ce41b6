output "arn" {
  description = "ARN of the instance, what replicas name as their source."
  value       = aws_db_instance.this.arn
}

output "kms_key_arn" {
  description = "Key of the storage."
  value       = aws_db_instance.this.kms_key_id
}

output "replicates_from" {
  description = "ARN of the source; null on a primary, for which AWS says an empty string."
  value       = try(coalesce(aws_db_instance.this.replicate_source_db), null)
}

output "host" {
  description = "Host name, which resolves to a private address."
  value       = aws_db_instance.this.address

  depends_on = [data.aws_db_instance.primary]
}

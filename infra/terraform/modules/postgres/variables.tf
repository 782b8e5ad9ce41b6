variable "name" {
  description = "Prefix of every name, unique in the account and region."
  type        = string
}

variable "source_arn" {
  description = "The primary to replicate from; null makes this instance a primary. Counts when the instance is created."
  type        = string
  default     = null
}

variable "create_after" {
  description = "What must exist before this instance: a replica's source."
  type        = string
  default     = null
}

variable "admin_password" {
  description = "Password of the administrator; only a primary needs it, a replica has the primary's."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "admin_password_generation" {
  description = "Raise it when admin_password changes."
  type        = number
  default     = 1
}

variable "engine_version" {
  description = "PostgreSQL version with its minor, the same in all regions."
  type        = string
}

variable "instance_class" {
  description = "RDS instance class. A replica smaller than its primary can fall behind."
  type        = string
}

variable "storage_gb" {
  description = "Storage at creation, GiB; grows by itself up to five times that."
  type        = number
}

variable "vpc_id" {
  description = "VPC of the instance."
  type        = string
}

variable "subnet_ids" {
  description = "Database subnets, at least two zones."
  type        = list(string)
}

variable "client_cidrs" {
  description = "Ranges that may open connections: the gateway tasks of every region."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "KMS key of this region; a cross-region replica cannot use the source's."
  type        = string
}

variable "max_lag_seconds" {
  description = "The gateway's max_lag. A query on a replica may hold up replay for less than that."
  type        = number
  default     = 5
}

variable "backup_retention_days" {
  description = "Days of automatic backups. A source of replicas needs at least one."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be 1 to 35: without backups RDS refuses replicas."
  }
}

variable "protected" {
  description = "Whether AWS refuses to delete the instance."
  type        = bool
  default     = true
}

variable "alarm_topic_arn" {
  description = "SNS topic, of this region, that alarms notify."
  type        = string
}

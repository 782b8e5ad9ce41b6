variable "name" {
  description = "Prefix of every name, unique in the account and region."
  type        = string
}

variable "account_id" {
  description = "The account, in the bucket's name."
  type        = string
}

variable "domain_name" {
  description = "The listener is s3-<region>-aws.<domain_name>."
  type        = string
}

variable "zone_id" {
  description = "Public hosted zone of that name."
  type        = string
}

variable "vpc_id" {
  description = "VPC of this region."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer."
  type        = list(string)
}

variable "task_security_group_id" {
  description = "Security group of the gateway tasks."
  type        = string
}

variable "port" {
  description = "Port of the tasks for S3."
  type        = number
}

variable "public_port" {
  description = "Port of the tasks that answers /health/live."
  type        = number
}

variable "client_cidrs" {
  description = "IPv4 ranges of the S3 clients."
  type        = list(string)
}

variable "spool_gib" {
  description = "GiB of disk that a task has."
  type        = number
}

variable "kms_key_arn" {
  description = "KMS key of this region, for the objects."
  type        = string
}

variable "protected" {
  description = "Whether AWS refuses to delete the load balancer, and the bucket with what is in it."
  type        = bool
  default     = true
}

variable "alarm_topic_arn" {
  description = "SNS topic, of this region, that alarms notify."
  type        = string
}

variable "name" {
  description = "Prefix of every name, unique in the account and region."
  type        = string
}

variable "vpc_id" {
  description = "VPC of this region."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the gateway tasks, one per zone."
  type        = list(string)
}

variable "task_security_group_id" {
  description = "Security group of the gateway tasks, which alone reach the file system."
  type        = string
}

variable "kms_key_arn" {
  description = "KMS key of this region, for the certificate and the file system."
  type        = string
}

variable "protected" {
  description = "Whether the certificate can be recovered for 30 days after it is deleted."
  type        = bool
  default     = true
}

variable "alarms" {
  description = "Whether the gateways' metrics arrive in CloudWatch, so that alarms can watch them."
  type        = bool
}

variable "alarm_topic_arn" {
  description = "SNS topic, of this region, that alarms notify."
  type        = string
}

variable "name" {
  description = "Prefix of every name, unique in the account and region."
  type        = string
}

variable "region" {
  description = "REGION of the gateway. Must be the region of the provider; checked."
  type        = string
}

variable "image" {
  description = "Image with its digest, from a registry this region can reach."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must end in @sha256:<digest>: a tag can change under a running service."
  }
}

variable "vpc_id" {
  description = "VPC of this region."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Subnets of the tasks."
  type        = list(string)
}

variable "own_host" {
  description = "Host name of this region alone, which health checks and dist-test.sh use."
  type        = string
}

variable "origin_host" {
  description = "The latency name that CloudFront connects to; the certificate covers both."
  type        = string
}

variable "zone_id" {
  description = "Public hosted zone of both names."
  type        = string
}

variable "public_host" {
  description = "The API's public name, under which dist-test.sh asks each region."
  type        = string
}

variable "shared_validation_fqdns" {
  description = "Validation records of origin_host and public_host; one each for all regions, made in acm.tf."
  type        = list(string)
}

variable "origin_secrets" {
  description = "The two accepted values of X-Origin-Verify."
  type        = list(string)
  sensitive   = true

  validation {
    condition     = length(var.origin_secrets) == 2
    error_message = "Exactly two values: one in use, one to rotate to."
  }
}

variable "probe_cidrs" {
  description = "IPv4 ranges dist-test.sh may run from."
  type        = list(string)
  default     = []
}

variable "probe_ipv6_cidrs" {
  description = "IPv6 ranges dist-test.sh may run from."
  type        = list(string)
  default     = []
}

variable "scrape_cidrs" {
  description = "Ranges of the Prometheus that reads the admin listener; empty keeps it on loopback."
  type        = list(string)
  default     = []
}

variable "database_cidrs" {
  description = "VPC ranges of the regions whose databases the tasks connect to."
  type        = list(string)
}

variable "secret_arns" {
  description = "Environment variable → ARN, in this region, of the secret that holds its value."
  type        = map(string)
}

variable "further_secret_arns" {
  description = "Secrets that tasks of an earlier definition read, which may start again during a deployment."
  type        = list(string)
  default     = []
}

variable "secret_versions" {
  description = "Versions of those secrets: no task starts before they are stored. A new version replaces nothing."
  type        = list(string)
}

variable "migration" {
  description = "Secret with the administrator's URL, for the migrate task; null where none may run."
  type        = object({ url_secret_arn = string })
  default     = null
}

variable "environment" {
  description = "Further plain environment variables."
  type        = map(string)
  default     = {}
}

variable "fleet" {
  description = <<-EOT
    Makes the tasks members of a fleet: its name, whose signatures count, the name of each region's gateways,
    the image of the CloudWatch agent (null: none), and what modules/fleet made. Null without one.
  EOT
  type = object({
    name            = string
    trusted_keys    = list(string)
    hosts           = map(string)
    agent_image     = string
    registry_arn    = string
    certificate_arn = string
    state = object({
      file_system_id    = string
      file_system_arn   = string
      access_point_id   = string
      access_point_arn  = string
      security_group_id = string
    })
  })
  default = null
}

variable "storage" {
  description = <<-EOT
    Makes the tasks listen for S3: what modules/storage made, the buckets of all regions, the account of their
    keys, and GiB of disk for a task. Null without object storage.
  EOT
  type = object({
    target_group_arn  = string
    security_group_id = string
    bucket_arns       = list(string)
    account_id        = string
    spool_gib         = number
  })
  default = null
}

variable "proxy_cidrs" {
  description = "Ranges of the load balancer's subnets: its word about clients is taken, and CloudFront's. No client may be in them."
  type        = list(string)
  default     = []
}

variable "fleet_cidrs" {
  description = "Ranges of the tasks of all regions of the fleet."
  type        = list(string)
  default     = []
}

variable "kms_key_arn" {
  description = "KMS key of this region, for the logs and the secrets."
  type        = string
}

variable "log_bucket" {
  description = "Bucket of this region for the load balancer's access log."
  type        = string
}

variable "task_cpu" {
  description = "CPU units of one task (1024 is one vCPU)."
  type        = number
  default     = 512
}

variable "task_memory" {
  description = "MiB of one task."
  type        = number
  default     = 1024
}

variable "task_count_min" {
  description = "Tasks at rest. Two survive the loss of a zone."
  type        = number
  default     = 2

  validation {
    condition     = var.task_count_min >= 2
    error_message = "task_count_min must be at least 2."
  }
}

variable "task_count_max" {
  description = "Tasks under load. Times the pool size it must stay below the primary's max_connections."
  type        = number
  default     = 10

  validation {
    condition     = var.task_count_max >= var.task_count_min
    error_message = "task_count_max must not be below task_count_min."
  }
}

variable "protected" {
  description = "Whether AWS refuses to delete the load balancer."
  type        = bool
  default     = true
}

variable "alarm_topic_arn" {
  description = "SNS topic, of this region, that alarms notify."
  type        = string
}

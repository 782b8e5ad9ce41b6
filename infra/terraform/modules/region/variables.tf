variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "region" {
  description = "AWS region id. Must be the region of the provider; checked."
  type        = string
}

variable "settings" {
  description = "What may differ from region to region; see var.regions of the root module."
  type = object({
    vpc_cidr         = string
    zone_count       = number
    nat_per_zone     = bool
    task_cpu         = number
    task_memory      = number
    task_count_min   = number
    task_count_max   = number
    database_class   = string
    database_storage = number
    protected        = bool
  })
}

variable "common" {
  description = "What is the same in all regions."
  type = object({
    account_id        = string
    primary_region    = string
    image_digest      = string
    postgres_version  = string
    max_lag_seconds   = number
    probe_cidrs       = list(string)
    probe_ipv6_cidrs  = list(string)
    scrape_cidrs      = list(string)
    environment       = map(string)
    alarm_emails      = list(string)
    origin_host       = string
    public_host       = string
    zone_id           = string
    vpc_cidrs         = list(string)
    excluded_zone_ids = set(string)
    gateway_cidrs     = list(string)
    fleet = object({
      name         = string
      trusted_keys = list(string)
      hosts        = map(string)
      agent_image  = string
    })
    storage = object({
      client_cidrs = list(string)
      spool_gib    = number
      bucket_arns  = list(string)
    })
    password_generations = object({
      database_admin = number
      database_app   = number
    })
  })
}

variable "create_after" {
  description = "Another region's database that must exist before this one is created; null for the first."
  type        = string
  default     = null
}

variable "secret_arns" {
  description = "Environment variable → ARN in this region, for the secrets shared by all regions."
  type        = map(string)
}

variable "secret_versions" {
  description = "Versions of those secrets: no task starts before they are stored."
  type        = list(string)
}

variable "migration" {
  description = "Secret with the administrator's URL; only in the home region."
  type        = object({ url_secret_arn = string })
  default     = null
}

variable "admin_password" {
  description = "Password of the database administrator, set on a primary."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "app_role" {
  description = "The database role the gateway uses, for the replica's URL."
  type        = string
}

variable "app_password" {
  description = "Password of app_role."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "origin_secrets" {
  description = "The two accepted values of X-Origin-Verify."
  type        = list(string)
  sensitive   = true
}

variable "shared_validation_fqdns" {
  description = "Validation records of the names all regions share."
  type        = list(string)
}

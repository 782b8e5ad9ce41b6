variable "account_id" {
  description = "The AWS account to deploy into; a plan with other credentials fails."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is twelve digits."
  }
}

variable "name" {
  description = "Prefix of every name."
  type        = string
  default     = "tidegate"

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])+$", var.name)) && length(var.name) <= 16 && !startswith(var.name, "internal-")
    error_message = "name: 2 to 16 lower-case letters, digits and single hyphens, a letter first, no hyphen last, not internal-: RDS and load balancers refuse others."
  }
}

variable "environment" {
  description = "Tag of everything, for example staging or production."
  type        = string
}

variable "domain_name" {
  description = "The public host name of the API, for example api.example.com."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain_name))
    error_message = "domain_name must be a lower-case host name."
  }

  validation {
    condition     = alltrue([for region in keys(var.regions) : length("${region}.origin.${var.domain_name}") <= 64])
    error_message = "domain_name is too long: ACM takes 64 characters, and every region's <region>.origin.<domain_name> has a certificate."
  }
}

variable "zone_id" {
  description = "Route 53 public hosted zone that holds domain_name."
  type        = string
}

variable "regions" {
  description = <<-EOT
    What may differ from region to region, by region id: an IPv4 /16 of its own, zones, gateway tasks and
    database. Every region needs an entry here and a module call in regions.tf. Sizes: a replica's class
    should not be below the primary's, since it may be promoted. `protected = false`, applied, lets the
    region's database, load balancer, logs and secrets be deleted: infra/README.md, "Taking a region or
    everything away".
  EOT
  type = map(object({
    vpc_cidr         = string
    zone_count       = optional(number, 2)
    nat_per_zone     = optional(bool, true)
    task_cpu         = optional(number, 512)
    task_memory      = optional(number, 1024)
    task_count_min   = optional(number, 2)
    task_count_max   = optional(number) # 10, in a fleet 8
    database_class   = optional(string, "db.m7g.large")
    database_storage = optional(number, 100)
    protected        = optional(bool, true)
  }))
  default = {
    us-east-1      = { vpc_cidr = "10.10.0.0/16" }
    eu-west-1      = { vpc_cidr = "10.20.0.0/16" }
    ap-southeast-1 = { vpc_cidr = "10.30.0.0/16" }
  }

  validation {
    condition     = length(distinct([for region in var.regions : cidrhost(region.vpc_cidr, 0)])) == length(var.regions)
    error_message = "Every region needs a vpc_cidr of its own: peered networks cannot overlap."
  }

  validation {
    condition = alltrue([
      for region in var.regions : endswith(region.vpc_cidr, "/16") &&
      can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)", region.vpc_cidr)) && can(cidrhost(region.vpc_cidr, 0))
    ])
    error_message = "Every vpc_cidr must be a private IPv4 /16."
  }

  validation {
    condition = alltrue([
      for region in var.regions : contains(keys(local.fargate_memory), tostring(region.task_cpu)) &&
      contains(lookup(local.fargate_memory, tostring(region.task_cpu), []), region.task_memory)
    ])
    error_message = "task_cpu and task_memory must be a pair that Fargate has: 256 with 512 to 2048, 512 with 1024 to 4096, 1024 with 2048 to 8192, 2048 with 4096 to 16384, 4096 with 8192 to 30720 (MiB, whole GiB), 8192 with 16384 to 61440 (steps of 4 GiB), 16384 with 32768 to 122880 (steps of 8 GiB)."
  }
}

variable "fleet" {
  description = <<-EOT
    Makes the gateways of all regions one fleet, which hands requests on between regions and follows the
    traffic policy in the database; `{}` is enough. Null: every region by itself. infra/README.md, "Gateways
    as a fleet", has the order of the steps. `trusted_keys`: whose signatures of revisions count, as
    `tidegate policy key` prints them. `agent_image`: the CloudWatch agent with its digest, from a registry
    that the tasks reach; with it, alarms watch the fleet.
  EOT
  type = object({
    name         = optional(string, "default")
    trusted_keys = optional(list(string), [])
    agent_image  = optional(string)
  })
  default = null

  validation {
    condition     = alltrue([for fleet in var.fleet[*] : can(regex("^[A-Za-z0-9_.-]+$", fleet.name))])
    error_message = "fleet.name is one word."
  }

  validation {
    condition     = alltrue([for fleet in var.fleet[*] : alltrue([for key in fleet.trusted_keys : can(regex("^[A-Za-z0-9+/]{43}=$", key))])])
    error_message = "fleet.trusted_keys: public keys of 32 bytes in base64."
  }

  validation {
    condition     = alltrue([for image in var.fleet[*].agent_image : image == null ? true : can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "fleet.agent_image must end in @sha256:<digest>: a tag can change under a running service."
  }

  validation {
    condition     = var.fleet == null || alltrue([for region in var.regions : coalesce(region.task_count_max, 8) <= 8])
    error_message = "task_count_max is 8 at most in a fleet: the private name of a region answers with that many addresses. Make the tasks larger."
  }
}

variable "excluded_zone_ids" {
  description = "Availability zones that are not used, by their ids: those that lack the newer instance classes."
  type        = set(string)
  default     = ["use1-az3"]
}

variable "storage" {
  description = <<-EOT
    Makes the gateways of all regions serve S3 (docs/storage.md), each under s3-<region>-aws.<domain_name>, with a
    bucket of its own in every region; `{}` is enough. Null: no object storage. `spool_gib`: the disk of a task,
    of which the spool takes 4 GiB unless [storage] spool_total_max says otherwise.
  EOT
  type = object({
    client_cidrs = optional(list(string), ["0.0.0.0/0"])
    spool_gib    = optional(number, 30)
  })
  default = null

  validation {
    condition     = alltrue([for storage in var.storage[*] : storage.spool_gib >= 21 && storage.spool_gib <= 200])
    error_message = "storage.spool_gib is 21 to 200, as Fargate has it."
  }

  validation {
    condition     = alltrue([for storage in var.storage[*] : alltrue([for cidr in storage.client_cidrs : can(cidrhost(cidr, 0))])])
    error_message = "storage.client_cidrs are IPv4 ranges."
  }
}

# MiB by CPU units; https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
locals {
  fargate_memory = {
    "256"   = [512, 1024, 2048]
    "512"   = range(1024, 4097, 1024)
    "1024"  = range(2048, 8193, 1024)
    "2048"  = range(4096, 16385, 1024)
    "4096"  = range(8192, 30721, 1024)
    "8192"  = range(16384, 61441, 4096)
    "16384" = range(32768, 122881, 8192)
  }
}

variable "image_digest" {
  description = "Digest (sha256:…) of the gateway image in the account's registry."
  type        = string

  validation {
    condition     = can(regex("^sha256:[0-9a-f]{64}$", var.image_digest))
    error_message = "image_digest is sha256: and 64 hexadecimal digits."
  }
}

variable "postgres_version" {
  description = "PostgreSQL with its minor. The gateway is tested on 15; RDS must still offer the minor."
  type        = string
  default     = "15.14"

  validation {
    condition     = can(regex("^1[5-7]\\.[0-9]+$", var.postgres_version))
    error_message = "postgres_version is major.minor, major 15 to 17."
  }
}

variable "max_lag_seconds" {
  description = "The gateway's [replication] max_lag; alarms and replay limits follow it."
  type        = number
  default     = 5
}

variable "probe_cidrs" {
  description = "IPv4 ranges dist-test.sh may reach the load balancers from."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.probe_cidrs : can(cidrhost(cidr, 0)) && tonumber(split("/", cidr)[1]) >= 16])
    error_message = "probe_cidrs: IPv4 ranges of at most a /16; the load balancers are not for the public."
  }
}

variable "probe_ipv6_cidrs" {
  description = "IPv6 ranges dist-test.sh may reach the load balancers from."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.probe_ipv6_cidrs : can(cidrhost(cidr, 0)) && tonumber(split("/", cidr)[1]) >= 32])
    error_message = "probe_ipv6_cidrs: IPv6 ranges of at most a /32; the load balancers are not for the public."
  }
}

variable "scrape_cidrs" {
  description = "Private ranges of the Prometheus that reads /metrics; empty keeps the admin listener on loopback."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.scrape_cidrs : can(cidrhost(cidr, 0)) && startswith(cidr, "10.") && tonumber(split("/", cidr)[1]) >= 8])
    error_message = "scrape_cidrs: ranges inside 10.0.0.0/8 only; reading the admin listener needs no authentication."
  }
}

variable "jwks_url" {
  description = "AUTH_JWKS_URL of the gateways."
  type        = string

  validation {
    condition     = startswith(var.jwks_url, "https://")
    error_message = "jwks_url must be https."
  }
}

variable "jwt_audience" {
  description = "AUTH_JWT_AUDIENCE; null leaves aud unchecked."
  type        = string
  default     = null
}

variable "jwt_issuer" {
  description = "AUTH_JWT_ISSUER; null leaves iss unchecked."
  type        = string
  default     = null
}

variable "alarm_emails" {
  description = "Addresses that every alarm is sent to; each must confirm once per region."
  type        = list(string)
  default     = []
}

variable "rate_limit" {
  description = "Requests one address may make in five minutes before the WAF blocks it."
  type        = number
  default     = 10000
}

variable "secret_generations" {
  description = <<-EOT
    Generation of each generated secret; raising one draws a new value. database_app: odd generations are
    of the role tidegate_a, even ones of tidegate_b; infra/README.md has the order of the steps. origin_a
    and origin_b: see origin_secret_active.
  EOT
  type = object({
    database_admin = optional(number, 1)
    database_app   = optional(number, 1)
    token          = optional(number, 1)
    admin_token    = optional(number, 1)
    origin_a       = optional(number, 1)
    origin_b       = optional(number, 1)
  })
  default = {}
}

variable "database_url_generation" {
  description = "Raise it when the primary's host changes, so that the stored URLs are written anew."
  type        = number
  default     = 1
}

variable "origin_secret_active" {
  description = "Which of the two origin secrets CloudFront sends; load balancers accept both. To rotate: raise the idle one's generation, apply, switch, apply."
  type        = string
  default     = "a"

  validation {
    condition     = contains(["a", "b"], var.origin_secret_active)
    error_message = "origin_secret_active is a or b."
  }
}

variable "primary_region" {
  description = <<-EOT
    Region whose database is the primary. A new deployment begins with us-east-1, because the replicas are
    created after the database there. Change it only after a promotion: infra/README.md, "Promoting a replica".
  EOT
  type        = string
  default     = "us-east-1"

  validation {
    condition     = contains(keys(var.regions), var.primary_region)
    error_message = "primary_region must be one of var.regions."
  }
}

variable "promoted_region" {
  description = "Former name of primary_region, which it overrides; null."
  type        = string
  default     = null

  validation {
    condition     = var.promoted_region == null ? true : contains(keys(var.regions), var.promoted_region)
    error_message = "promoted_region must be one of var.regions."
  }
}

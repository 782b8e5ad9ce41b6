variable "name" {
  description = "Prefix of every name, unique in the account and region."
  type        = string
}

variable "vpc_cidr" {
  description = "IPv4 range of the VPC, a /16 that overlaps no other region's."
  type        = string

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && endswith(var.vpc_cidr, "/16")
    error_message = "vpc_cidr must be an IPv4 /16."
  }
}

variable "zone_count" {
  description = "Availability zones to use. Two survive the loss of one."
  type        = number
  default     = 2

  validation {
    condition     = var.zone_count >= 2 && var.zone_count <= 3
    error_message = "zone_count must be 2 or 3: a load balancer and a database need two."
  }
}

variable "excluded_zone_ids" {
  description = "Zones that are not used, by their ids, which are the same in all accounts; names are not."
  type        = set(string)
  default     = []
}

variable "nat_per_zone" {
  description = "One NAT gateway per zone. With false one serves all: cheaper, and lost with its zone."
  type        = bool
  default     = true
}

variable "log_key_arn" {
  description = "KMS key, of this region, that encrypts the flow logs."
  type        = string
}

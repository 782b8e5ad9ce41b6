variable "name" {
  description = "Name of the connection."
  type        = string
}

variable "requester" {
  description = "The network that asks, in the region of aws.requester."
  type = object({
    region              = string
    vpc_id              = string
    vpc_cidr            = string
    peered_route_tables = map(string)
  })
}

variable "accepter" {
  description = "The network that accepts, in the region of aws.accepter."
  type = object({
    region              = string
    vpc_id              = string
    vpc_cidr            = string
    peered_route_tables = map(string)
  })
}

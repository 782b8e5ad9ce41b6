output "peered" {
  description = "Both ends and the routes made on each."
  value = {
    requester_vpc    = aws_vpc_peering_connection.this.vpc_id
    accepter_vpc     = aws_vpc_peering_connection.this.peer_vpc_id
    accepter_region  = aws_vpc_peering_connection.this.peer_region
    requester_routes = { for table, route in aws_route.requester : table => route.destination_cidr_block }
    accepter_routes  = { for table, route in aws_route.accepter : table => route.destination_cidr_block }
  }
}

output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "vpc_cidr" {
  description = "Its IPv4 range."
  value       = aws_vpc.this.cidr_block
}

output "public_subnet_ids" {
  description = "Subnets of the load balancer, one per zone."
  value       = aws_subnet.public[*].id

  # AWS refuses a public load balancer in a network without a way out.
  depends_on = [aws_route.public_ipv4, aws_route.public_ipv6]
}

output "private_subnet_ids" {
  description = "Subnets of the gateway tasks, one per zone."
  value       = aws_subnet.private[*].id
}

output "private_cidrs" {
  description = "IPv4 ranges of the gateway tasks."
  value       = aws_subnet.private[*].cidr_block
}

output "database_subnet_ids" {
  description = "Subnets of the database, one per zone."
  value       = aws_subnet.database[*].id
}

# Keyed by names known before apply, so that a route can be made for each with for_each.
output "peered_route_tables" {
  description = "Route tables that need a way to the other regions: the tasks' and the database's."
  value = merge(
    { for index, table in aws_route_table.private : "private-${index}" => table.id },
    { database = aws_route_table.database.id },
  )
}

# The gateways of all regions as one fleet (docs/fleet.md), if var.fleet is set: they tell each other how
# they are and hand requests on. What a region needs for it is in modules/fleet; here is what all share.

locals {
  # The name of each region's gateways, as modules/fleet makes it.
  fleet_host = { for region in keys(var.regions) : region => "gateways.${region}.${var.name}.internal" }

  # Null without a fleet. A region's own gateways are among the peers: its siblings.
  fleet = one([
    for fleet in var.fleet[*] : {
      name         = fleet.name
      trusted_keys = fleet.trusted_keys
      hosts        = local.fleet_host
      agent_image  = fleet.agent_image
    }
  ])

  # Every region's zone with every other region's network; its own is there from the start.
  fleet_zones = var.fleet == null ? {} : {
    for pair in setproduct(keys(var.regions), keys(var.regions)) : "${pair[0]} in ${pair[1]}" => {
      zone    = pair[0]
      network = pair[1]
    } if pair[0] != pair[1]
  }
}

resource "aws_route53_zone_association" "fleet" {
  provider = aws.us_east_1
  for_each = local.fleet_zones

  zone_id    = local.deployed[each.value.zone].fleet.zone_id
  vpc_id     = local.deployed[each.value.network].network.vpc_id
  vpc_region = each.value.network
}

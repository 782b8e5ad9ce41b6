# Every region is connected with every other by private addresses, whichever is the primary: strong
# requests, writes and spill go to its database, and it may be promoted at any time. One call for each
# pair; tests/infra/regions.mjs misses none.

module "peering_eu_us" {
  source    = "./modules/peering"
  providers = { aws.requester = aws.eu_west_1, aws.accepter = aws.us_east_1 }

  name      = "${var.name}-eu-west-1-us-east-1"
  requester = module.eu_west_1.network
  accepter  = module.us_east_1.network
}

module "peering_ap_us" {
  source    = "./modules/peering"
  providers = { aws.requester = aws.ap_southeast_1, aws.accepter = aws.us_east_1 }

  name      = "${var.name}-ap-southeast-1-us-east-1"
  requester = module.ap_southeast_1.network
  accepter  = module.us_east_1.network
}

module "peering_ap_eu" {
  source    = "./modules/peering"
  providers = { aws.requester = aws.ap_southeast_1, aws.accepter = aws.eu_west_1 }

  name      = "${var.name}-ap-southeast-1-eu-west-1"
  requester = module.ap_southeast_1.network
  accepter  = module.eu_west_1.network
}

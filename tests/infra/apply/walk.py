#!/usr/bin/env python3
"""Walks through infra/README.md in an imitated account: first apply, upgrade, rotation, a minor of
PostgreSQL, a region more, a region less, promotion with and without the home region, failing back, replacing
replicas, destroying everything. Every `sh` block there is run as it stands, by bash, with Terraform and the AWS CLI.

  walk.py [--quick | --only STEP…] [--work DIR] [--infra DIR]

--quick   ends after the plans that follow the first apply (about 15 minutes of an hour on two idle cores; most of
          it is the provider's own waiting for databases)
--only    after the first apply these steps alone, in the order of the walk: what failed late is seen again without
          what lies before it. failing_back needs promotion before it, and region_less region_more
--work    where state, logs and the copy of infra/ are kept; else a directory that is removed when all went well

Needs terraform, its AWS provider (TF_PLUGIN_DIR, else a directory tf-plugins at most two levels below the root,
else the registry), and moto and the AWS CLI of requirements.txt beside this interpreter. Prints a line for each
claim; ends with 1 when one of them does not hold. Writes nothing outside its directory."""

import argparse
import glob
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from account import Account
from rules import Rules
from runbook import blocks

HERE = pathlib.Path(__file__).resolve().parent
HOME, EU, AP, FOURTH = "us-east-1", "eu-west-1", "ap-southeast-1", "eu-central-1"
REGIONS = [HOME, EU, AP]
SETTINGS = {
    "account_id": "123456789012", "environment": "walk", "domain_name": "api.example.com", "jwks_url": "https://login.example.com/jwks.json",
    "image_digest": "sha256:" + "0" * 64, "alarm_emails": ["oncall@example.com"], "probe_cidrs": ["192.0.2.7/32"],
}
OPTIONS = {
    "scrape_cidrs": ["10.99.0.0/16"], "probe_ipv6_cidrs": ["2001:db8::/48"], "jwt_audience": "api", "jwt_issuer": "https://login.example.com", "rate_limit": 5000,
    "max_lag_seconds": 3,
}
# Whatever the configuration needs to work against the imitation, and nothing else.
PROVIDER = 'provider "aws" {\n  alias             = "%s"\n  s3_use_path_style = true\n}\n'


class Stop(Exception):
    """What follows cannot be tried."""


class Walk:
    def __init__(self, infra, work):
        self.work, self.terraform = work, work / "infra/terraform"
        shutil.copytree(infra, work / "infra", ignore=shutil.ignore_patterns(".terraform*", "terraform.tfstate*", "terraform.tfvars*"))
        self.blocks, self.skipped = blocks(work / "infra/README.md")
        self.run_blocks, self.failed, self.started = set(), [], time.time()
        self.settings = dict(SETTINGS)
        self.regions = {HOME: {"vpc_cidr": "10.10.0.0/16"}, EU: {"vpc_cidr": "10.20.0.0/16"}, AP: {"vpc_cidr": "10.30.0.0/16"}}
        self.account = Account(str(pathlib.Path(sys.executable).parent / "moto_server"), work / "account.log", Rules)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "AWS_")) and "proxy" not in k.lower()} | {
            "PATH": f"{self.cli()}:{os.environ['PATH']}", "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull, "NO_COLOR": "1",
            "TF_CLI_ARGS_apply": "-auto-approve -input=false", "TF_CLI_ARGS_destroy": "-auto-approve -input=false",
            "TF_CLI_ARGS_init": "-input=false" + "".join(f" -plugin-dir={d}" for d in plugin_dirs()), "AWS_ENDPOINT_URL": self.account.url, "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "walk", "AWS_SECRET_ACCESS_KEY": "walk", "AWS_MAX_ATTEMPTS": "2", "AWS_PAGER": "",
            # No region of the deployment: a command of the runbook that forgets its --region shall miss.
            "AWS_DEFAULT_REGION": "us-west-2",
        }

    def cli(self):
        """A directory with an `aws` that asks the account: AWS_ENDPOINT_URL alone does not reach RDS in us-east-1."""
        aws = self.work / "bin/aws"
        aws.parent.mkdir()
        aws.write_text(f'#!/bin/sh\nexec "{pathlib.Path(sys.executable).parent}/aws" --endpoint-url {self.account.url} "$@"\n')
        aws.chmod(0o755)
        return aws.parent

    # --- Saying ----------------------------------------------------------------------------------------

    def claim(self, holds, what, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'}  {what}  [{time.time() - self.started:.0f} s]", flush=True)
        if not holds:
            self.failed.append(what)
            print(re.sub("^", "        ", str(detail)[-1500:], flags=re.M), flush=True)
        return holds

    def must(self, holds, what, detail=""):
        if not self.claim(holds, what, detail):
            raise Stop

    # --- Doing -----------------------------------------------------------------------------------------

    def command(self, arguments, title, **environment):
        self.write_settings()
        done = subprocess.run(arguments, cwd=self.terraform, env=self.environment | environment, capture_output=True, text=True, timeout=3600)
        output = done.stdout + done.stderr
        with open(self.work / "commands.log", "a") as log:
            log.write(f"\n##### {title} -> {done.returncode}\n{output}")
        return done.returncode, output

    def write_settings(self):
        (self.terraform / "terraform.tfvars.json").write_text(json.dumps(self.settings | {"regions": self.regions}, indent=2))
        aliases = re.findall(r'(?m)^  alias\s+= "(\w+)"', (self.terraform / "providers.tf").read_text())
        (self.terraform / "walk_override.tf").write_text('terraform {\n  backend "local" {}\n}\n' + "".join(PROVIDER % alias for alias in aliases))

    def block(self, name, **variables):
        """Runs a block of the README; that it ends well is a claim."""
        self.run_blocks.add(name)
        code, output = self.command(["bash", "-euo", "pipefail", "-c", self.blocks[name]], f"{name} {variables}", **variables)
        detail = "\n".join(re.findall(r"(?m)^.*(?:Error|error occurred).*$(?:\n.*){0,6}", output)) or output
        self.must(code == 0, f"README, {name}" + "".join(f" {k}={v}" for k, v in variables.items()), detail)
        return output

    def tf(self, *arguments):
        return self.command(["terraform", *arguments], " ".join(arguments))

    def apply(self, what):
        code, output = self.tf("apply")
        self.must(code == 0, what, output)

    def plan(self, *arguments):
        """(what it does by address, output); None for a plan that fails, empty where nothing is to do."""
        binary = str(self.work / "plan")
        code, output = self.tf("plan", "-input=false", "-detailed-exitcode", f"-out={binary}", *arguments)
        if code == 1:
            return None, output
        if code == 0:
            return {}, output
        changes = json.loads(self.tf("show", "-json", binary)[1])
        actions = {r["address"]: r["change"]["actions"] for r in changes["resource_changes"] if r["mode"] == "managed" and r["change"]["actions"] != ["no-op"]}
        return actions or {"outputs": ["update"]}, output

    def claim_empty_plan(self, when):
        actions, output = self.plan()
        self.claim(actions == {}, f"{when} a plan is empty", actions or output)

    def claim_nothing_lost(self, actions, output, what, but=()):
        lost = None if actions is None else [a for a, c in actions.items() if "delete" in c and not any(word in a for word in but)]
        self.claim(lost == [], what, lost or output)

    def redeploy(self, *regions):
        for region in regions:
            self.block("redeploy", REGION=region)

    def push(self, tag):
        """What `docker push` and ECR's replication do."""
        manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "config": {"digest": tag}})
        digest = "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()
        ask = lambda region, action, **arguments: self.account.ask("ecr", region, f"AmazonEC2ContainerRegistry_V20150921.{action}", **arguments)
        rules = ask(HOME, "DescribeRegistry").json["replicationConfiguration"]["rules"]
        for region in [HOME] + [to["region"] for rule in rules for to in rule["destinations"]]:
            if region != HOME:
                ask(region, "CreateRepository", repositoryName="tidegate")
            ask(region, "PutImage", repositoryName="tidegate", imageManifest=manifest, imageTag=tag, imageDigest=digest)
        return digest

    # --- Looking ---------------------------------------------------------------------------------------

    def secret(self, name, region=HOME):
        return self.account.ask("secretsmanager", region, "secretsmanager.GetSecretValue", SecretId=f"tidegate/{name}").json.get("SecretString")

    def deployments(self, since):
        return [d for d in self.account.rules.deployments if d["at"] >= since]

    def claim_no_breach(self):
        breaches = self.account.rules.breaches
        self.claim(not breaches, "no task was started without its secrets", "\n".join(breaches))
        breaches.clear()


def plugin_dirs():
    named = os.environ.get("TF_PLUGIN_DIR")
    return [named] if named else (glob.glob("/tf-plugins") + glob.glob("/*/tf-plugins"))[:1]


# --- The steps -----------------------------------------------------------------------------------------


def prepare(walk):
    zone = '<CreateHostedZoneRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Name>example.com</Name><CallerReference>walk</CallerReference></CreateHostedZoneRequest>'
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=walk/20240101/us-east-1/route53/aws4_request, SignedHeaders=host, Signature=x"}
    walk.settings["zone_id"] = re.search(r"/hostedzone/(\w+)", walk.account.forward("POST", "/2013-04-01/hostedzone", headers, zone.encode()).text)[1]
    for region in REGIONS + [FOURTH]:
        known = walk.account.ask("ec2", region, "DescribeManagedPrefixLists", Version="2016-11-15").text
        for name in ("com.amazonaws.global.cloudfront.origin-facing", f"com.amazonaws.{region}.route53-healthchecks"):
            if name not in known:
                walk.account.ask("ec2", region, "CreateManagedPrefixList", Version="2016-11-15", PrefixListName=name, MaxEntries="55", AddressFamily="IPv4", **{"Entry.1.Cidr": "192.0.2.0/24"})
    code, output = walk.tf("init")
    walk.must(code == 0, "terraform init", output)


def first_apply(walk):
    walk.block("registry")
    walk.settings["image_digest"] = walk.push("1.0.0")
    walk.block("everything")
    walk.claim_empty_plan("after the first apply")
    sources = {region: arn.split(":")[3] for (region, _), arn in walk.account.rules.sources.items()}
    walk.claim(sources == {EU: HOME, AP: HOME}, "two replicas follow the primary", sources)
    walk.block("migrate")
    walk.redeploy(*REGIONS)
    walk.claim_no_breach()


def plans(walk):
    before = dict(walk.settings)
    walk.settings["image_digest"] = walk.push("1.1.0")
    actions, output = walk.plan()
    others = [a for a in actions or {} if not re.search(r"aws_ecs_(task_definition|service)\.", a)]
    walk.claim(actions and not others, "a release changes task definitions and services alone", others or output)
    walk.settings |= OPTIONS
    walk.claim_nothing_lost(*walk.plan(), "all optional settings on: only task definitions are replaced", but=["aws_ecs_task_definition"])
    walk.settings = before | {"image_digest": walk.settings["image_digest"], "primary_region": EU}
    for arguments in ([], ["-refresh=false"]):
        actions, output = walk.plan(*arguments)
        walk.claim(actions is None and "still replicates" in output, " ".join(["a primary that still replicates is refused", *arguments]), output)
    walk.settings = before


def upgrade(walk):
    since = time.time()
    walk.settings["image_digest"] = walk.push("1.2.0")
    walk.block("upgrade-migrate")
    walk.claim(not walk.deployments(since), "the migrate task is made before any gateway is redeployed")
    walk.block("migrate")
    walk.block("upgrade")
    walk.claim({d["region"] for d in walk.deployments(since)} == set(REGIONS), "an upgrade reaches every region", walk.deployments(since))
    old = walk.account.ask("ecs", EU, "AmazonEC2ContainerServiceV20141113.ListTaskDefinitions", familyPrefix="tidegate-gateway").json
    walk.claim(len(old["taskDefinitionArns"]) > 1, "the definition before it is still there to go back to", old)
    walk.claim_no_breach()


def rotation(walk):
    url, since = walk.secret("database-url"), time.time()
    walk.settings["secret_generations"] = {"database_app": 2, "database_admin": 2, "origin_b": 2}
    walk.block("rotate-draw")
    drawn = walk.secret("database-app-password")
    walk.claim(walk.secret("database-url") == url and drawn not in url, "the new password is drawn and used nowhere")
    walk.block("rotate-write")
    walk.claim(not walk.deployments(since), "a rotation starts no task", walk.deployments(since))
    walk.claim(all(f"//tidegate_b:{drawn}@" in walk.secret(name, EU) for name in ("database-url", "database-read-replica-url")), "the other role and the new password are in the URLs")
    changed = [call.form.get("MasterUserPassword", "?") in walk.secret("database-admin-url") for call in walk.account.since(since, "ModifyDBInstance")]
    walk.claim(changed == [True], "the administrator's password is changed at the primary, and in the migrate task's URL")
    walk.block("copied")
    walk.redeploy(*REGIONS)
    walk.claim_no_breach()
    walk.settings["origin_secret_active"] = "b"
    walk.claim_nothing_lost(*walk.plan(), "the other origin secret replaces nothing")
    walk.apply("the other origin secret is sent")
    walk.block("token", TOKENS="old,new")
    walk.claim({walk.secret("token-secret", region) for region in REGIONS} == {"old,new"}, "every region has the new token secret")
    walk.claim_empty_plan("after a rotation")


def fleet(walk):
    regions, folder = " ".join(REGIONS), walk.work / "certificates"
    folder.mkdir()
    for name in ["ca", *REGIONS]:
        for extension in ("crt", "key"):
            (folder / f"{name}.{extension}").write_text(f"-----BEGIN {name}-----\nline\n-----END {name}-----\n")
    walk.settings["fleet"] = {"agent_image": "registry.test/agent@sha256:" + "1" * 64}
    since = time.time()
    walk.block("fleet-first", REGIONS=regions)
    walk.claim(not walk.deployments(since), "no task is started before the certificates are there")
    walk.block("fleet-certificates", REGIONS=regions, DIR=str(folder))
    for region in REGIONS:
        secret = json.loads(walk.secret("fleet-certificate", region) or "{}")
        whole = secret == {part: (folder / file).read_text() for part, file in [("certificate", f"{region}.crt"), ("key", f"{region}.key"), ("ca", "ca.crt")]}
        walk.claim(whole, f"{region} has its own certificate, line by line", secret)
    walk.block("fleet-tables")
    walk.block("fleet")
    started = {d["region"]: set(d["secrets"]) for d in walk.deployments(since)}
    walk.claim(set(started) == set(REGIONS) and all({"CERTIFICATE", "KEY", "CA"} <= secrets for secrets in started.values()), "every region's tasks have certificates", started)
    walk.claim_no_breach()
    walk.claim_empty_plan("with a fleet")
    del walk.settings["fleet"]
    walk.claim_nothing_lost(*walk.plan(), "taking the fleet apart replaces or deletes nothing else", but=["fleet", "aws_ecs_task_definition", "gateway.aws_vpc_security_group_egress_rule.state", "aws_iam_role_policy.state", "metrics"])
    walk.apply("the fleet is taken apart")
    walk.claim_empty_plan("without the fleet")


def minor(walk):
    version = "15.15"
    for region in (EU, AP, HOME):
        walk.block("minor", REGION=region, VERSION=version)
    walk.settings["postgres_version"] = version
    walk.claim_empty_plan("after a minor upgrade")


def region_more(walk):
    add_region(walk.terraform, FOURTH)
    walk.regions[FOURTH] = {"vpc_cidr": "10.40.0.0/16"}
    (walk.terraform / "walk_override.tf").unlink()
    checked = subprocess.run(["node", str(HERE.parent / "regions.mjs"), str(walk.terraform)], capture_output=True, text=True)
    walk.claim(checked.returncode == 0, "regions.mjs accepts the region more", checked.stderr)
    walk.block("add-region-registry")
    walk.settings["image_digest"] = walk.push("1.3.0")
    walk.block("add-region-image", REGION=FOURTH, DIGEST=walk.settings["image_digest"])
    walk.claim_nothing_lost(*walk.plan(), "a region more replaces task definitions only", but=["aws_ecs_task_definition"])
    walk.block("add-region")
    walk.claim_empty_plan("with a region more")
    walk.claim_no_breach()


def region_less(walk):
    walk.block("drain", REGION=FOURTH)
    bucket = f"tidegate-logs-{FOURTH}-123456789012"
    walk.command(["aws", "s3api", "put-object", "--region", FOURTH, "--bucket", bucket, "--key", "AWSLogs/one"], "a log")
    walk.regions[FOURTH]["protected"] = False
    walk.block("unprotect")
    remove_region(walk.terraform, FOURTH)
    del walk.regions[FOURTH]
    walk.block("take-away")
    walk.block("take-away-registry", REGION=FOURTH)
    remove_alias(walk.terraform, FOURTH)
    walk.claim_empty_plan("with the region and its provider gone")
    left = walk.account.ask("secretsmanager", FOURTH, "secretsmanager.ListSecrets").json["SecretList"]
    walk.claim(left == [], "the region keeps no secret", left)


def move_primary(walk, old, new, generation):
    """Steps 2 to 6 of a promotion while the home region answers."""
    password = walk.secret("database-app-password")
    walk.block("fence", OLD=old)
    walk.block("promote", NEW=new)
    walk.block("move-writes", NEW=new)
    walk.block("copied")
    since = time.time()
    walk.redeploy(*REGIONS)
    claim_writes_go_to(walk, new, REGIONS, since, password)
    tell_terraform(walk, new, generation)


def claim_writes_go_to(walk, new, regions, since, password):
    urls = {d["region"]: d["secrets"].get("DATABASE_URL", "") for d in walk.deployments(since)}
    good = set(urls) == set(regions) and all(f".{new}." in url and password in url for url in urls.values())
    walk.claim(good, f"the gateways of {', '.join(regions)} write to {new}", urls)
    walk.claim_no_breach()


def tell_terraform(walk, new, generation):
    since = time.time()
    walk.settings |= {"primary_region": new, "database_url_generation": generation}
    walk.claim_nothing_lost(*walk.plan(), f"{new} as the primary: no database, secret or peering is replaced", but=["aws_ecs_task_definition", "aws_secretsmanager_secret_version", "replica_lag"])
    walk.block("promoted")
    walk.claim(not walk.account.since(since, "PromoteReadReplica", "DeleteSecret", "DeleteDBInstance"), "Terraform promotes nothing and deletes neither secrets nor databases")
    standby = walk.account.ask("rds", new, "DescribeDBInstances", DBInstanceIdentifier=f"tidegate-{new}").text
    walk.claim("<MultiAZ>true</MultiAZ>" in standby, f"{new} has its standby at once")
    walk.claim_no_breach()
    walk.claim_empty_plan(f"with {new} as the primary")


def replace_replicas(walk, old, third, new):
    walk.block("keep-the-past", OLD=old)
    for region in (old, third):
        walk.regions[region]["protected"] = False
    walk.block("replace-replicas", STALE=f"{old} {third}")
    sources = {region: arn.split(":")[3] for (region, _), arn in walk.account.rules.sources.items()}
    walk.claim(sources == {old: new, third: new}, f"{old} and {third} follow {new}", sources)
    for region in (old, third):
        del walk.regions[region]["protected"]
    walk.apply("the protection is back")
    walk.claim_empty_plan("after the replicas were replaced")


def promotion(walk):
    move_primary(walk, HOME, EU, 2)
    replace_replicas(walk, HOME, AP, EU)


def failing_back(walk):
    move_primary(walk, EU, HOME, 3)
    replace_replicas(walk, EU, AP, HOME)


def disaster(walk):
    password, left, since = walk.secret("database-app-password"), [EU, AP], time.time()
    walk.account.silent = {HOME}
    walk.block("promote", NEW=AP)
    walk.block("move-writes-without-home", NEW=AP, LEFT=" ".join(left))
    claim_writes_go_to(walk, AP, left, since, password)
    walk.account.silent = set()
    walk.block("fence", OLD=HOME)
    walk.block("home-again", NEW=AP)
    since = time.time()
    walk.redeploy(HOME)
    claim_writes_go_to(walk, AP, [HOME], since, password)
    tell_terraform(walk, AP, 4)
    copies = {region: walk.account.ask("secretsmanager", region, "secretsmanager.DescribeSecret", SecretId="tidegate/database-url").json.get("PrimaryRegion") for region in left}
    walk.claim(set(copies.values()) == {HOME}, "the independent copies are copies again", copies)
    walk.claim(all(f".{AP}." in walk.secret("database-url", region) for region in REGIONS), "and say the same as before")


def destroying(walk):
    for region in walk.regions.values():
        region["protected"] = False
    walk.block("unprotect")
    walk.block("destroy")
    left = walk.tf("state", "list")[1]
    walk.claim(left.strip() == "", "nothing is left in the state", left)
    for region in (EU, AP):
        walk.block("take-away-registry", REGION=region)
    code, output = walk.tf("apply", "-target=aws_secretsmanager_secret.database_url", "-target=aws_ecr_repository.gateway")
    walk.claim(code == 0, "and everything can be made again: the names are free", output)


def every_block(walk):
    for text, why in walk.skipped.items():
        print(f"SKIPPED  {text}: {why}")
    missed = set(walk.blocks) - walk.run_blocks
    walk.claim(not missed, f"all {len(walk.blocks)} sh blocks of the README were run", missed)


# --- "Adding a region" and "Removing a region", by the README's words ----------------------------------


def alias_of(region):
    return region.replace("-", "_")


def edit(path, change):
    path.write_text(change(path.read_text()))


def add_region(folder, region, like=EU):
    alias, model = alias_of(region), alias_of(like)
    renamed = lambda text: text.replace(model, alias).replace(like, region)
    first = lambda pattern, text: re.search(pattern, text, re.S | re.M)[0]
    edit(folder / "providers.tf", lambda t: t + "\n" + renamed(first(rf'^provider "aws" \{{\n  alias +  *= "{model}".*?^\}}\n', t)))
    edit(folder / "regions.tf", lambda t: re.sub(rf"(?m)^ +{like} += module\.{model}(\.database\.host)?\n", lambda line: line[0] + renamed(line[0]), t) + "\n" + renamed(first(rf'^module "{model}".*?^\}}\n', t)))
    edit(folder / "secrets.tf", lambda t: re.sub(rf"(?m)^ +{like} += module\.{model}\.kms_key_arn\n", lambda line: line[0] + renamed(line[0]), t))
    peerings = [f'\nmodule "peering_{alias}_{alias_of(other)}" {{\n  source    = "./modules/peering"\n  providers = {{ aws.requester = aws.{alias}, aws.accepter = aws.{alias_of(other)} }}\n\n'
                f'  name      = "${{var.name}}-{region}-{other}"\n  requester = module.{alias}.network\n  accepter  = module.{alias_of(other)}.network\n}}\n' for other in REGIONS]
    edit(folder / "peering.tf", lambda t: t + "".join(peerings))


def remove_region(folder, region):
    alias = alias_of(region)
    for name in ("regions.tf", "peering.tf"):
        edit(folder / name, lambda t: re.sub(rf'(?ms)^module "(?:peering_)?{alias}\w*" \{{.*?^\}}\n', "", t))
    for name in ("regions.tf", "secrets.tf"):
        edit(folder / name, lambda t: re.sub(rf"(?m)^ +{region} += .*\n", "", t))


def remove_alias(folder, region):
    edit(folder / "providers.tf", lambda t: re.sub(rf'(?ms)^provider "aws" \{{\n  alias +  *= "{alias_of(region)}".*?^\}}\n', "", t))


FIRST = [prepare, first_apply]
QUICK = [*FIRST, plans]
STEPS = [*QUICK, upgrade, rotation, fleet, minor, region_more, region_less, promotion, failing_back, disaster, destroying, every_block]


def steps(options):
    if options.only:
        return FIRST + [step for step in STEPS if step.__name__ in options.only]
    return QUICK if options.quick else STEPS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--quick", action="store_true")
    choice.add_argument("--only", nargs="+", default=[], choices=[step.__name__ for step in STEPS if step not in FIRST])
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--infra", type=pathlib.Path, default=HERE.parents[2] / "infra")
    options = parser.parse_args()
    if not shutil.which("terraform"):
        return print("check-infra-apply: SKIPPED: terraform is not installed")
    work = options.work or pathlib.Path(tempfile.mkdtemp(prefix="tidegate-apply-"))
    work.mkdir(parents=True, exist_ok=True)
    walk = Walk(options.infra, work)
    try:
        for step in steps(options):
            step(walk)
    except Stop:
        print("      what follows was not tried")
    finally:
        walk.account.stop()
    print(f"{len(walk.failed)} claims do not hold" + (f"; logs in {work}" if walk.failed or options.work else ""))
    if not walk.failed and not options.work:
        shutil.rmtree(work)
    sys.exit(1 if walk.failed else 0)


if __name__ == "__main__":
    main()

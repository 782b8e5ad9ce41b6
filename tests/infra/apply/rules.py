"""What stands between Terraform and moto. Three kinds, named in front of each:

  STUB  moto lacks the call, so it is answered here
  MEND  moto forgets or misstates something that the provider compares
  LAW   AWS refuses it and moto does not

Some laws do not refuse but note a breach, because AWS would accept the call and fail later: `breaches`."""

import base64
import json
import re
import threading
import uuid

from account import SIGNATURE, Answer

CLOUDFRONT = "http://cloudfront.amazonaws.com/doc/2020-05-31/"
JSON = "application/x-amz-json-1.1"


def refusal(code, message, status=400):
    return Answer(status, f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>LAW: {message}</Message></Error><RequestId>x</RequestId></ErrorResponse>")


def json_refusal(code, message):
    return Answer(400, json.dumps({"__type": code, "message": f"LAW: {message}"}), kind=JSON)


def element(name, text, default=None):
    """The first element of that name, inner text."""
    found = re.search(rf"<{name}(?:\s[^>]*)?>(.*?)</{name}>", text, re.S)
    return found[1] if found else default


def set_element(block, parent, name, value):
    """`block` with <name>value</name> as the last child of `parent`, in place of what it had."""
    block = re.sub(rf"<{name}>.*?</{name}>|<{name}\s*/>", "", block, flags=re.S)
    return block.replace(f"</{parent}>", f"<{name}>{value}</{name}></{parent}>")


class Rules:
    def __init__(self, account):
        self.account, self.lock, self.breaches, self.deployments = account, threading.RLock(), [], []
        self.policies, self.functions, self.distributions = {}, {}, {}
        self.sources, self.insights = {}, {}
        self.descriptions, self.copy_keys, self.target_tags, self.services = {}, {}, {}, {}
        self.protected, self.peerings, self.independent = set(), {}, set()
        self.namespace_networks = {}

    def before(self, call):
        with self.lock:
            for rule in (self.laws, self.cloudfront_policy, self.cloudfront_function, self.rds_before, self.subnets_by_ipv6, self.secrets_before,
                         self.revoked_by_id, self.target_tags_of, self.deployment):
                if answer := rule(call):
                    return answer

    def after(self, call, answer):
        with self.lock:
            for rule in (self.laws_after, self.rds_after, self.subnet_state, self.rule_descriptions, self.secrets_after, self.distribution,
                         self.target_tags_set, self.service_fields, self.namespace_zone):
                rule(call, answer)

    # --- CloudFront ------------------------------------------------------------------------------------

    def cloudfront_policy(self, call):
        """STUB: cache, origin request and response headers policies, kept as the XML that was sent."""
        path = re.match(r"/2020-05-31/((cache|origin-request|response-headers)-policy)(?:/([^/?]+))?(?:/config)?(?:\?.*)?$", call.path)
        if not path:
            return None
        kind = {"cache": "CachePolicy", "origin-request": "OriginRequestPolicy", "response-headers": "ResponseHeadersPolicy"}[path[2]]
        ident = path[3]
        if call.method in ("POST", "PUT"):
            config = document(call.body)
            if kind == "CachePolicy" and element("MaxTTL", config) == "0" and re.search("<Enable[A-Za-z]+>true|Behavior>(?!none|<)[a-z]", config):
                return refusal("InvalidArgument", "a cache policy with MaxTTL 0 has nothing in its key")
            name = element("Name", config)
            taken = next((i for (k, i), v in self.policies.items() if k == kind and element("Name", v) == name and i != ident), None)
            # The same once more is the client's own retry, after an answer that it did not get.
            if taken and self.policies[kind, taken] != config:
                return refusal(kind + "AlreadyExists", f"{name} exists", 409)
            ident = ident or taken or str(uuid.uuid4())
            self.policies[kind, ident] = config
        elif (kind, ident) not in self.policies:
            return refusal("NoSuch" + kind, f"no {ident}", 404)
        elif call.method == "DELETE":
            del self.policies[kind, ident]
            return Answer(204, "")
        body = f'<{kind} xmlns="{CLOUDFRONT}"><Id>{ident}</Id><LastModifiedTime>2024-01-01T00:00:00Z</LastModifiedTime>{self.policies[kind, ident]}</{kind}>'
        return Answer(201 if call.method == "POST" else 200, body, [("Content-Type", "text/xml"), ("ETag", "E1")])

    def cloudfront_function(self, call):
        """STUB: functions, with their two stages."""
        path = re.match(r"/2020-05-31/function(?:/([^/?]+))?(/publish|/describe)?(?:\?(.*))?$", call.path)
        if not path:
            return None
        name, what, live = path[1], path[2], "Stage=LIVE" in (path[3] or "")
        headers = [("Content-Type", "text/xml"), ("ETag", "E1")]
        if call.method in ("POST", "PUT") and not what:
            sent = document(call.body)
            name = name or element("Name", sent)
            kept = self.functions.setdefault(name, {})
            kept["DEVELOPMENT"] = (element("FunctionConfig", sent), element("FunctionCode", sent))
            return Answer(201 if call.method == "POST" else 200, self.function_summary(name, "DEVELOPMENT"), headers)
        stages = self.functions.get(name, {})
        stage = "LIVE" if live else "DEVELOPMENT"
        if stage not in stages:
            return refusal("NoSuchFunctionExists", f"no {name} in {stage}", 404)
        if what == "/publish":
            stages["LIVE"] = stages["DEVELOPMENT"]
            return Answer(200, self.function_summary(name, "LIVE"), headers)
        if call.method == "DELETE":
            del self.functions[name]
            return Answer(204, "")
        if what == "/describe":
            return Answer(200, self.function_summary(name, stage), headers)
        return Answer(200, base64.b64decode(stages[stage][1]), [("Content-Type", "application/javascript"), ("ETag", "E1")])

    def function_summary(self, name, stage):
        arn = f"arn:aws:cloudfront::123456789012:function/{name}"
        times = "<CreatedTime>2024-01-01T00:00:00Z</CreatedTime><LastModifiedTime>2024-01-01T00:00:00Z</LastModifiedTime>"
        return (f'<FunctionSummary xmlns="{CLOUDFRONT}"><Name>{name}</Name><Status>UNASSOCIATED</Status><FunctionConfig>{self.functions[name][stage][0]}</FunctionConfig>'
                f"<FunctionMetadata><FunctionARN>{arn}</FunctionARN><Stage>{stage}</Stage>{times}</FunctionMetadata></FunctionSummary>")

    def distribution(self, call, answer):
        """MEND: moto drops policies, functions and the certificate from a distribution's configuration."""
        path = re.match(r"/2020-05-31/distribution(?:/([A-Z0-9]+))?(?:/config)?(?:\?WithTags=?)?$", call.path)
        if not path or answer.status >= 300 or call.method == "DELETE":
            return
        ident = path[1] or element("Id", answer.text)
        if call.method in ("POST", "PUT"):
            self.distributions[ident] = element("DistributionConfig", document(call.body))
        for name in ("DefaultCacheBehavior", "CacheBehaviors", "ViewerCertificate"):
            sent = re.search(rf"<{name}>.*?</{name}>", self.distributions.get(ident, ""), re.S)
            if sent:
                answer.text = re.sub(rf"<{name}>.*?</{name}>|<{name}\s*/>", lambda _: sent[0], answer.text, count=1, flags=re.S)

    # --- RDS: replicas of other regions ----------------------------------------------------------------

    def rds_before(self, call):
        if call.service != "rds":
            return None
        ident, form = call.form.get("DBInstanceIdentifier"), call.form
        replicates = (call.region, ident) in self.sources
        if call.action == "CreateDBInstanceReadReplica":
            return self.create_replica(call, ident, form)
        if call.action == "PromoteReadReplica":
            if not replicates:
                return refusal("InvalidDBInstanceState", f"{ident} is not a read replica")
            del self.sources[call.region, ident]
            answer = self.account.ask("rds", call.region, "ModifyDBInstance", **{k: v for k, v in form.items() if k != "Action"})
            answer.text = answer.text.replace("ModifyDBInstance", "PromoteReadReplica")
            return answer
        if call.action == "ModifyDBInstance" and replicates and "MasterUserPassword" in form:
            return refusal("InvalidParameterCombination", f"{ident} is a read replica: its password is its source's")
        if call.action == "ModifyDBInstance" and form.get("ApplyImmediately") != "true":
            # LAW: these wait for the maintenance window, and RDS says the old value until then.
            waiting = {"MultiAZ", "DBInstanceClass", "EngineVersion", "AllocatedStorage", "StorageType"}
            answer = self.account.ask("rds", call.region, "ModifyDBInstance", **{k: v for k, v in form.items() if k not in waiting | {"Action"}})
            return answer
        if call.action == "DeleteDBInstance" and replicates and form.get("SkipFinalSnapshot") != "true":
            return refusal("InvalidParameterCombination", f"{ident} is a read replica: it leaves no snapshot")
        if call.action == "StopDBInstance" and (replicates or any(f":{call.region}:" in s and s.endswith(f":{ident}") for s in self.sources.values())):
            return refusal("InvalidDBInstanceState", f"{ident} replicates or is replicated")
        return None

    def create_replica(self, call, ident, form):
        source = form["SourceDBInstanceIdentifier"]
        if not source.startswith("arn:"):
            return refusal("InvalidParameterValue", "a replica in another region names its source by ARN")
        region, name = source.split(":")[3], source.split(":")[6]
        found = self.account.ask("rds", region, "DescribeDBInstances", DBInstanceIdentifier=name)
        if found.status != 200:
            return refusal("DBInstanceNotFound", f"no source {source}", 404)
        if (region, name) in self.sources:
            return refusal("InvalidDBInstanceState", f"{source} is a replica itself")
        if "DBParameterGroupName" in form:  # RDS says so of PostgreSQL, and the provider asks again without
            return refusal("InvalidParameterCombination", "A parameter group can't be specified during Read Replica creation for the following DB engine: postgres")
        own = {k: v for k, v in form.items() if not k.startswith(("Action", "Source", "PreSignedUrl"))}
        own |= {"Engine": "postgres", "EngineVersion": element("EngineVersion", found.text), "MasterUsername": "tidegate_admin", "MasterUserPassword": "of-the-source",
                "DBName": "tidegate", "AllocatedStorage": "100", "BackupRetentionPeriod": "0", "StorageEncrypted": "true"}
        answer = self.account.ask("rds", call.region, "CreateDBInstance", **own)
        if answer.status == 200:
            self.sources[call.region, ident] = source
            answer.text = answer.text.replace("CreateDBInstanceRes", "CreateDBInstanceReadReplicaRes")
        return answer

    def rds_after(self, call, answer):
        if call.service != "rds" or answer.status != 200:
            return
        key = (call.region, call.form.get("DBInstanceIdentifier"))
        if call.action == "DeleteDBInstance":
            self.sources.pop(key, None)
        if call.form.get("EnablePerformanceInsights") == "true":
            self.insights[key] = call.form.get("PerformanceInsightsKMSKeyId") or self.insights.get(key, "")
        if call.action == "DescribeDBParameters":  # MEND: the provider asks for those of source user
            answer.text = re.sub("<Parameter>(?!.*?<Source>.*?</Parameter>)", "<Parameter><Source>user</Source>", answer.text)
        answer.text = re.sub("<DBInstance>.*?</DBInstance>", lambda block: self.instance(call.region, block[0]), answer.text, flags=re.S)

    def instance(self, region, block):
        """MEND: what moto does not say of an instance: its source, and Performance Insights."""
        key = (region, element("DBInstanceIdentifier", block))
        if key in self.insights:
            for name, value in (("Enabled", "true"), ("KMSKeyId", self.insights[key]), ("RetentionPeriod", "7")):
                block = set_element(block, "DBInstance", "PerformanceInsights" + name, value)
        if key in self.sources:
            return set_element(block, "DBInstance", "ReadReplicaSourceDBInstanceIdentifier", self.sources[key])
        return re.sub("<ReadReplicaSourceDBInstanceIdentifier>.*?</ReadReplicaSourceDBInstanceIdentifier>|<ReadReplicaSourceDBInstanceIdentifier/>", "", block)

    # --- Networks --------------------------------------------------------------------------------------

    def subnet_state(self, call, answer):
        """MEND: moto prints a Python dictionary for the state of an IPv6 range."""
        if call.service == "ec2":
            answer.text = re.sub(r"\{'State': '(.*?)'\}", r"\1", answer.text)

    def subnets_by_ipv6(self, call):
        """STUB: the provider looks a subnet up by its IPv6 association, a filter that moto answers with 500."""
        if call.action != "DescribeSubnets" or call.form.get("Filter.1.Name") != "ipv6-cidr-block-association.association-id":
            return None
        answer = self.account.ask("ec2", call.region, "DescribeSubnets", Version="2016-11-15")
        head, rest = answer.text.split("<subnetSet>")
        items, tail = rest.rsplit("</subnetSet>", 1)
        one = next((item for item in re.split("(?=<item><availabilityZoneId>)", items) if call.form["Filter.1.Value.1"] in item), "")
        answer.text = f"{head}<subnetSet>{one}</subnetSet>{tail}"
        return answer

    def rule_descriptions(self, call, answer):
        """MEND: moto loses the description of a rule that names a prefix list or a group."""
        if call.service != "ec2" or "SecurityGroup" not in call.action or answer.status != 200:
            return
        if call.action.startswith("AuthorizeSecurityGroup"):
            said = next((v for k, v in call.form.items() if k.endswith(".Description")), None)
            for ident in re.findall("<securityGroupRuleId>(.*?)<", answer.text):
                self.descriptions[ident] = said

        def described(item):
            said = self.descriptions.get(element("securityGroupRuleId", item[0]))
            return item[0] if not said or "<description>" in item[0] else item[0].replace("</securityGroupRuleId>", f"</securityGroupRuleId><description>{said}</description>")

        answer.text = re.sub("<item><securityGroupRuleId>.*?</item>", described, answer.text, flags=re.S)

    def revoked_by_id(self, call):
        """STUB: rules taken away by their ids, of which moto takes one at a time."""
        ids = [v for k, v in sorted(call.form.items()) if k.startswith("SecurityGroupRuleId.")]
        if call.action != "RevokeSecurityGroupIngress" or len(ids) < 2:
            return None
        for ident in ids:
            answer = self.account.ask("ec2", call.region, "RevokeSecurityGroupIngress", Version="2016-11-15", GroupId=call.form["GroupId"], **{"SecurityGroupRuleId.1": ident})
            if answer.status != 200:
                break
        return answer

    # --- Secrets ---------------------------------------------------------------------------------------

    def secrets_before(self, call):
        """STUB: a copy made independent. It keeps name and value, and is none of its source's copies any more."""
        if call.service != "secretsmanager" or call.action != "StopReplicationToReplica":
            return None
        name = secret_name(call.json["SecretId"])
        ask = lambda region, action, **arguments: self.account.ask("secretsmanager", region, f"secretsmanager.{action}", **arguments)
        copy = ask(call.region, "GetSecretValue", SecretId=name)
        home = ask(call.region, "DescribeSecret", SecretId=name).json.get("PrimaryRegion")
        if copy.status != 200 or home in (None, call.region):
            return json_refusal("InvalidRequestException", f"{name} is no copy in {call.region}")
        ask(home, "RemoveRegionsFromReplication", SecretId=name, RemoveReplicaRegions=[call.region])
        made = ask(call.region, "CreateSecret", Name=name, SecretString=copy.json["SecretString"], ClientRequestToken=str(uuid.uuid4()))
        self.independent.add((call.region, name))  # moto gives it another ARN, AWS does not
        return Answer(made.status, json.dumps({"ARN": copy.json["ARN"]}), kind=JSON)

    def secrets_after(self, call, answer):
        """MEND: moto forgets under which key a copy is kept."""
        if call.service != "secretsmanager" or answer.status != 200:
            return
        asked = call.json
        for copy in asked.get("AddReplicaRegions") or []:
            self.copy_keys[secret_name(asked.get("Name") or asked["SecretId"]), copy["Region"]] = copy.get("KmsKeyId")
        if "ReplicationStatus" in answer.text:
            said = answer.json
            for copy in said.get("ReplicationStatus") or []:
                key = self.copy_keys.get((secret_name(said.get("Name") or said["ARN"]), copy["Region"]))
                copy |= {"KmsKeyId": key} if key else {}
            answer.json = said

    def namespace_zone(self, call, answer):
        """MEND: moto writes the path of a namespace's zone in place of its id, and leaves the namespace's network out of the zone."""
        if call.service != "servicediscovery" or answer.status != 200:
            return
        answer.text = answer.text.replace('"/hostedzone/', '"')
        if call.action == "CreatePrivateDnsNamespace":
            self.namespace_networks[call.region, call.json["Name"]] = call.json["Vpc"]
        if call.action == "GetNamespace":
            namespace = answer.json["Namespace"]
            if network := self.namespace_networks.pop((call.region, namespace["Name"]), None):
                zone = namespace["Properties"]["DnsProperties"]["HostedZoneId"]
                body = f"<AssociateVPCWithHostedZoneRequest><VPC><VPCRegion>{call.region}</VPCRegion><VPCId>{network}</VPCId></VPC></AssociateVPCWithHostedZoneRequest>"
                self.account.forward("POST", f"/2013-04-01/hostedzone/{zone}/associatevpc", {"Authorization": SIGNATURE.format(region=call.region, service="route53")}, body.encode())

    # --- ECS -------------------------------------------------------------------------------------------

    def deployment(self, call):
        """LAW, noted: tasks read their secrets when they start, in their region, and each must hold a value."""
        if call.service != "ecs" or call.action not in ("CreateService", "UpdateService", "RunTask"):
            return None
        asked = call.json
        definition = asked.get("taskDefinition")
        if not definition:
            if not asked.get("forceNewDeployment"):
                return None
            said = self.ecs(call.region, "DescribeServices", cluster=asked["cluster"], services=[asked["service"]])
            definition = said["services"][0]["taskDefinition"]
        values = {}
        for container in self.ecs(call.region, "DescribeTaskDefinition", taskDefinition=definition)["taskDefinition"]["containerDefinitions"]:
            for secret in container.get("secrets", []):
                arn, key = re.fullmatch(r"((?:[^:]*:){6}[^:]*)(?::([^:]*)::)?", secret["valueFrom"]).groups()
                name = secret_name(arn)
                ident = name if (call.region, name) in self.independent else arn
                read = self.account.ask("secretsmanager", call.region, "secretsmanager.GetSecretValue", SecretId=ident)
                if read.status != 200 or f":{call.region}:" not in secret["valueFrom"]:
                    self.breaches.append(f"{call.region}: {call.action} without {secret['name']} ({secret['valueFrom']})")
                else:
                    value = read.json["SecretString"]
                    values[secret["name"]] = json.loads(value)[key] if key else value
        if call.action != "RunTask":
            self.deployments.append({"at": call.at, "region": call.region, "secrets": values})
            return None
        # STUB: moto fails to run a task on Fargate.
        network = asked["networkConfiguration"]["awsvpcConfiguration"]
        if not network["subnets"] or not network["securityGroups"]:
            return json_refusal("InvalidParameterException", "a task in awsvpc mode has subnets and groups")
        return Answer(200, json.dumps({"tasks": [{"taskDefinitionArn": definition, "lastStatus": "PROVISIONING"}], "failures": []}), kind=JSON)

    def ecs(self, region, action, **arguments):
        return self.account.ask("ecs", region, f"AmazonEC2ContainerServiceV20141113.{action}", **arguments).json

    def service_fields(self, call, answer):
        """MEND: fields of a service that moto forgets."""
        if call.service != "ecs" or answer.status != 200 or not call.action.endswith(("Service", "Services")):
            return
        asked, said = call.json, answer.json
        name = asked.get("serviceName") or asked.get("service")
        kept = self.services.setdefault((call.region, name), {})
        kept |= {k: asked[k] for k in ("availabilityZoneRebalancing", "healthCheckGracePeriodSeconds", "serviceRegistries") if k in asked}
        for service in [said["service"]] if "service" in said else said.get("services", []):
            service |= self.services.get((call.region, service.get("serviceName")), {})
            # What a service is when its tasks run, so that `aws ecs wait` ends.
            service["runningCount"] = service.get("desiredCount", 0)
            service["deployments"] = [d | {"runningCount": d.get("desiredCount", 0)} for d in service.get("deployments", [])[:1]]
        answer.json = said

    def target_tags_of(self, call):
        """STUB: tags of scalable targets."""
        if call.service != "application-autoscaling" or not call.action.endswith(("TagResource", "TagsForResource", "UntagResource")):
            return None
        asked = call.json
        tags = self.target_tags.setdefault(asked["ResourceARN"], {})
        tags |= asked.get("Tags", {})
        for key in asked.get("TagKeys", []):
            tags.pop(key, None)
        return Answer(200, json.dumps({"Tags": tags} if call.action == "ListTagsForResource" else {}), kind=JSON)

    def target_tags_set(self, call, answer):
        if call.service == "application-autoscaling" and call.action == "RegisterScalableTarget" and answer.status == 200:
            self.target_tags.setdefault(answer.json["ScalableTargetARN"], {}).update(call.json.get("Tags") or {})

    # --- What AWS refuses ------------------------------------------------------------------------------

    def laws(self, call):
        form = call.form
        if call.action == "ModifyLoadBalancerAttributes":
            attributes = {v: form.get(k.removesuffix("Key") + "Value") for k, v in form.items() if k.endswith(".Key")}
            if flag := attributes.get("deletion_protection.enabled"):
                (self.protected.add if flag == "true" else self.protected.discard)(form["LoadBalancerArn"])
        if call.action == "DeleteLoadBalancer" and form["LoadBalancerArn"] in self.protected:
            return refusal("OperationNotPermitted", "the load balancer is protected")
        if call.action == "CreateLoadBalancer" and form.get("Scheme") != "internal" and not self.way_out(call):
            return refusal("InvalidSubnet", "the VPC has no internet gateway")
        if call.action == "CreateVpcPeeringConnection" and frozenset((form["VpcId"], form["PeerVpcId"])) in self.peerings.values():
            return refusal("VpcPeeringConnectionAlreadyExists", "two networks are connected once")
        if call.service == "ecr" and call.action == "PutReplicationConfiguration":
            rules = call.json["replicationConfiguration"]["rules"]
            if any(to["region"] == call.region for rule in rules for to in rule["destinations"]):
                return json_refusal("InvalidParameterException", "a registry is not replicated into its own region")
        return None

    def way_out(self, call):
        subnet = next(v for k, v in call.form.items() if k.startswith(("Subnets.member", "SubnetMappings.member")))
        said = self.account.ask("ec2", call.region, "DescribeSubnets", Version="2016-11-15", **{"SubnetId.1": subnet}).text
        gateways = self.account.ask("ec2", call.region, "DescribeInternetGateways", Version="2016-11-15").text
        return f"<vpcId>{element('vpcId', said)}</vpcId>" in gateways

    def laws_after(self, call, answer):
        if answer.status != 200:
            return
        if call.action == "CreateVpcPeeringConnection":
            self.peerings[element("vpcPeeringConnectionId", answer.text)] = frozenset((call.form["VpcId"], call.form["PeerVpcId"]))
        if call.action == "DeleteVpcPeeringConnection":
            self.peerings.pop(call.form.get("VpcPeeringConnectionId"), None)


def document(body):
    """XML without its declaration and namespace."""
    return re.sub(r'\sxmlns="[^"]*"', "", re.sub(r"^<\?xml.*?\?>", "", body.decode()).strip(), count=1)


def secret_name(ident):
    return re.sub("-[A-Za-z0-9]{6}$", "", ident.split(":secret:")[-1]) if ":secret:" in ident else ident

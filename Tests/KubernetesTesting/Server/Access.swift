import Crypto
public import Foundation
public import JSON

/// Who sends a request ("Authenticating").
public struct User: Hashable, Sendable {
    public var name: String
    public var groups: Set<String>
    public var extra: [String: [String]] = [:]
    public var uid = ""

    public init(_ name: String, groups: Set<String> = []) {
        self.name = name
        self.groups = groups
    }

    /// May do everything ("Using RBAC Authorization", "Default roles").
    public static let admin = User("kubernetes-admin", groups: ["system:masters"])
    static func controller(_ name: String) -> User {
        User("system:serviceaccount:kube-system:\(name)", groups: ["system:masters"])
    }
}

/// One thing that was done or may be done.
public struct Right: Hashable, Sendable, Comparable, CustomStringConvertible {
    public var verb: String
    public var group: String
    /// With its subresource: `pods/log`. A path for what is no resource.
    public var resource: String
    public var name: String

    public var description: String {
        "\(verb) \(resource)\(group.isEmpty ? "" : ".\(group)")\(name.isEmpty ? "" : " \(name)")"
    }
    public static func < (one: Right, other: Right) -> Bool { one.description < other.description }
}

/// Tokens, their users, and what they used.
struct AccessControl {
    var tokens: [String: User] = [:]
    /// Whether roles are asked; otherwise whoever is known may do everything.
    var checksRoles = false
    /// By user name.
    var used: [String: Set<Right>] = [:]
    var denied: [String: Set<Right>] = [:]
    /// The audiences that the API server itself has.
    let audience = "https://kubernetes.default.svc"
    var key = P256.Signing.PrivateKey()

    /// A token of a service account ("Configure Service Accounts for Pods", "Launch a Pod using service account token
    /// projection"): a JWT that others can check with `/openid/v1/jwks`.
    func issue(_ claims: JSONValue) -> String {
        let header: JSONValue = ["alg": "ES256", "typ": "JWT", "kid": "stand-in"]
        let text = Self.encode(header.canonicalBytes) + "." + Self.encode(claims.canonicalBytes)
        guard let signature = try? key.signature(for: Data(text.utf8)) else { return "" }
        return text + "." + Self.encode(Array(signature.rawRepresentation))
    }

    func claims(of token: String) -> JSONValue? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let signature = Self.decode(parts[2]), let body = Self.decode(parts[1]),
            let signed = try? P256.Signing.ECDSASignature(rawRepresentation: signature),
            key.publicKey.isValidSignature(signed, for: Data((parts[0] + "." + parts[1]).utf8))
        else { return nil }
        return try? JSONValue(parsing: body)
    }

    var keys: JSONValue {
        let point = Array(key.publicKey.rawRepresentation)
        return [
            "keys": [
                [
                    "use": "sig", "kty": "EC", "kid": "stand-in", "crv": "P-256", "alg": "ES256",
                    "x": .string(Self.encode(Array(point[..<32]))), "y": .string(Self.encode(Array(point[32...]))),
                ]
            ]
        ]
    }

    static func encode(_ bytes: [UInt8]) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    static func decode(_ text: String) -> [UInt8]? {
        let text = text.replacing("-", with: "+").replacing("_", with: "/")
        return Data(base64Encoded: text + String(repeating: "=", count: (4 - text.count % 4) % 4)).map(Array.init)
    }
}

extension StandInCluster {
    /// Makes a token a user's.
    public func add(_ user: User, token: String) { access.tokens[token] = user }
    public func revoke(token: String) { access.tokens[token] = nil }
    /// Lets roles decide from now on ("Using RBAC Authorization").
    public func checkRoles() { access.checksRoles = true }

    /// What a user did, whether roles are checked or not.
    public func usedRights(of user: String) -> Set<Right> { access.used[user] ?? [] }
    public func deniedRights(of user: String) -> Set<Right> { access.denied[user] ?? [] }

    /// What a user's roles give and it never used. A rule for all resources or verbs counts as used if anything in it was.
    public func unusedRights(of user: User) -> [Right] {
        let used = usedRights(of: user.name)
        var unused: Set<Right> = []
        for rule in rules(of: user, in: nil) {
            for right in Self.rights(of: rule) where !used.contains(where: { Self.covers(right, $0) }) {
                unused.insert(right)
            }
        }
        return unused.sorted()
    }

    private static func covers(_ granted: Right, _ used: Right) -> Bool {
        (granted.verb == "*" || granted.verb == used.verb) && (granted.group == "*" || granted.group == used.group)
            && (granted.resource == "*" || granted.resource == used.resource)
            && (granted.name.isEmpty || granted.name == used.name)
    }

    private static func rights(of rule: JSONValue) -> [Right] {
        func list(_ name: String) -> [String] { rule[name]?.array?.compactMap(\.string) ?? [] }
        let names = list("resourceNames").isEmpty ? [""] : list("resourceNames")
        var rights = list("verbs").flatMap { verb in
            list("apiGroups").flatMap { group in
                list("resources").flatMap { resource in
                    names.map { Right(verb: verb, group: group, resource: resource, name: $0) }
                }
            }
        }
        for verb in list("verbs") {
            rights += list("nonResourceURLs").map { Right(verb: verb, group: "", resource: $0, name: "") }
        }
        return rights
    }

    /// The rules that bindings give a user: those of the cluster, and those in a namespace (nil: in any).
    private func rules(of user: User, in namespace: String?) -> [JSONValue] {
        func isBound(_ binding: JSONValue) -> Bool {
            (binding["subjects"]?.array ?? []).contains { subject in
                let name = subject["name"]?.string ?? ""
                switch subject["kind"]?.string {
                case "ServiceAccount":
                    let space = subject["namespace"]?.string ?? binding.namespace
                    return user.name == "system:serviceaccount:\(space):\(name)"
                case "Group": return user.groups.contains(name)
                default: return user.name == name
                }
            }
        }
        var rules: [JSONValue] = []
        for stored in storage.all(.clusterRoleBindings) where isBound(stored.object) {
            let role = stored.object.at("roleRef", "name")?.string ?? ""
            rules += find(.clusterRoles, "", role)?["rules"]?.array ?? []
        }
        for stored in storage.all(.roleBindings) where isBound(stored.object) {
            let binding = stored.object
            guard namespace == nil || binding.namespace == namespace else { continue }
            let role = binding.at("roleRef", "name")?.string ?? ""
            let isOfCluster = binding.at("roleRef", "kind")?.string == "ClusterRole"
            let found = isOfCluster ? find(.clusterRoles, "", role) : find(.roles, binding.namespace, role)
            rules += found?["rules"]?.array ?? []
        }
        return rules
    }

    func isAllowed(_ user: User, _ right: Right, namespace: String) -> Bool {
        if !access.checksRoles || user.groups.contains("system:masters") { return true }
        return rules(of: user, in: namespace).contains { rule in
            Self.rights(of: rule).contains { granted in
                let isBelow = granted.resource.hasSuffix("*") && right.resource.hasPrefix(granted.resource.dropLast())
                return Self.covers(granted, right) || (isBelow && granted.verb == right.verb)
            }
        }
    }

    /// - Throws: 403 with the text that the RBAC authorizer gives.
    func authorize(_ user: User, _ right: Right, _ target: Target) throws(APIFailure) {
        guard isAllowed(user, right, namespace: target.namespace) else {
            access.denied[user.name, default: []].insert(right)
            let place =
                target.namespace.isEmpty ? "at the cluster scope" : "in the namespace \"\(target.namespace)\""
            throw .forbidden(
                "\(target.type.qualified) \(target.name.isEmpty ? "" : "\"\(target.name)\" ")is forbidden: User "
                    + "\"\(user.name)\" cannot \(right.verb) resource \"\(right.resource)\" in API group "
                    + "\"\(right.group)\" \(place)", target.type, target.name)
        }
        // Bounded: names are noted only for what a test might have limited to names.
        if access.used[user.name, default: []].count < 10_000 { access.used[user.name, default: []].insert(right) }
    }

    /// - Throws: 401 for a client without a good token or certificate.
    func authenticate(_ request: APIRequest) throws(APIFailure) -> User {
        if let header = request.headers["authorization"] {
            guard header.lowercased().hasPrefix("bearer "), let user = user(of: String(header.dropFirst(7)))
            else { throw .unauthorized }
            return user
        }
        guard let user = request.certificateUser else { throw .unauthorized }
        return user
    }

    /// The user of a token for an audience; nil if it is not good any more.
    func user(of token: String, audiences: Set<String>? = nil) -> User? {
        if let user = access.tokens[token] {
            return User.withAuthenticated(user)
        }
        guard let claims = access.claims(of: token), let expiry = claims["exp"]?.integer,
            Double(expiry) > clock.now.timeIntervalSince1970,
            let account = claims.at("kubernetes.io", "serviceaccount"), let name = account["name"]?.string,
            let namespace = claims.at("kubernetes.io", "namespace")?.string,
            find(.serviceAccounts, namespace, name)?.uid == account["uid"]?.string
        else { return nil }
        let own = Set(claims["aud"]?.array?.compactMap(\.string) ?? [])
        guard !own.isDisjoint(with: audiences ?? [access.audience]) else { return nil }
        // A bound token is good for as long as its pod is there.
        let pod = claims.at("kubernetes.io", "pod")
        if let pod, find(.pods, namespace, pod["name"]?.string ?? "")?.uid != pod["uid"]?.string { return nil }
        var user = User(
            "system:serviceaccount:\(namespace):\(name)",
            groups: ["system:serviceaccounts", "system:serviceaccounts:\(namespace)"])
        user.uid = account["uid"]?.string ?? ""
        if let pod {
            user.extra["authentication.kubernetes.io/pod-name"] = [pod["name"]?.string ?? ""]
            user.extra["authentication.kubernetes.io/pod-uid"] = [pod["uid"]?.string ?? ""]
        }
        return User.withAuthenticated(user)
    }

    /// What a kubelet or a client gets by TokenRequest.
    /// - Parameter audiences: those of the API server if there are none.
    public func serviceAccountToken(
        namespace: String, name: String, audiences: [String] = [], seconds: Int = 3600, pod: JSONValue? = nil
    ) -> (token: String, expires: Date)? {
        guard let account = find(.serviceAccounts, namespace, name) else { return nil }
        let now = Int(clock.now.timeIntervalSince1970)
        var own: JSONValue = [
            "namespace": .string(namespace),
            "serviceaccount": ["name": .string(name), "uid": .string(account.uid)],
        ]
        if let pod {
            own.set(["name": .string(pod.name), "uid": .string(pod.uid)], "pod")
            if let node = pod.at("spec", "nodeName")?.string {
                own.set(
                    ["name": .string(node), "uid": .string(find(.nodes, "", node)?.uid ?? "")], "node")
            }
        }
        let audiences = audiences.isEmpty ? [access.audience] : audiences
        let claims: JSONValue = [
            "iss": .string(access.audience), "sub": .string("system:serviceaccount:\(namespace):\(name)"),
            "aud": .array(audiences.map(JSONValue.string)), "iat": .integer(now), "nbf": .integer(now),
            "exp": .integer(now + seconds), "jti": .string(newUID()), "kubernetes.io": own,
        ]
        return (access.issue(claims), clock.now + Double(seconds))
    }

    /// The keys that tokens are signed with, as `/openid/v1/jwks` gives them.
    public var tokenKeys: JSONValue { access.keys }

    /// TokenReview and the access reviews, which are answered and not stored.
    func review(_ target: Target, _ body: JSONValue, by user: User) -> JSONValue {
        var review = body
        switch target.type.plural {
        case "tokenreviews":
            let wanted = body.at("spec", "audiences")?.array?.compactMap(\.string) ?? []
            let audiences = wanted.isEmpty ? [access.audience] : wanted
            if let found = self.user(of: body.at("spec", "token")?.string ?? "", audiences: Set(audiences)) {
                review.set(
                    ["authenticated": true, "user": found.json, "audiences": .array(audiences.map(JSONValue.string))],
                    "status")
            } else {
                review.set(["authenticated": false, "error": "the token is not good"], "status")
            }
        case "selfsubjectreviews": review.set(["userInfo": user.json], "status")
        default:
            var subject = user
            if target.type.plural == "subjectaccessreviews" {
                let groups = body.at("spec", "groups")?.array?.compactMap(\.string) ?? []
                subject = User(body.at("spec", "user")?.string ?? "", groups: Set(groups))
            }
            let asked = body.at("spec", "resourceAttributes") ?? [:]
            let subresource = asked["subresource"]?.string ?? ""
            let right = Right(
                verb: asked["verb"]?.string ?? "", group: asked["group"]?.string ?? "",
                resource: (asked["resource"]?.string ?? "") + (subresource.isEmpty ? "" : "/" + subresource),
                name: asked["name"]?.string ?? "")
            let isAllowed = isAllowed(subject, right, namespace: asked["namespace"]?.string ?? "")
            review.set(["allowed": .bool(isAllowed)], "status")
        }
        return review
    }
}

extension User {
    fileprivate static func withAuthenticated(_ user: User) -> User {
        var user = user
        user.groups.insert("system:authenticated")
        return user
    }

    var json: JSONValue {
        [
            "username": .string(name), "uid": .string(uid), "groups": .array(groups.sorted().map(JSONValue.string)),
            "extra": .object(JSONObject(extra.mapValues { .array($0.map(JSONValue.string)) })),
        ]
    }
}

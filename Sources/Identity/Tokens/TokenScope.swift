import JSON
import OCI

/// What a token lets its bearer do below `/v2/`: actions on some repositories, and listing them all (distribution's
/// token specification, "Token Scope Documentation").
public struct TokenScope: Hashable, Sendable {
    /// How many scopes a client may ask for at once.
    public static let maximumCount = 16

    struct Actions: OptionSet, Hashable, Sendable {
        let rawValue: UInt8

        static let pull = Actions(rawValue: 1)
        static let push = Actions(rawValue: 2)
        static let delete = Actions(rawValue: 4)
        /// By their names in scopes.
        static let named: [(name: String, actions: Actions)] = [
            ("pull", pull), ("push", push), ("delete", delete), ("*", [pull, push, delete]),
        ]

        /// The names of the actions, each once.
        var names: [String] { Self.named.dropLast().filter { contains($0.actions) }.map(\.name) }

        init(rawValue: UInt8) { self.rawValue = rawValue }

        /// - Parameter names: those that are not known are left out.
        init(_ names: some Sequence<some StringProtocol>) {
            self = names.reduce(into: []) { actions, name in
                for known in Self.named where name == known.name { actions.formUnion(known.actions) }
            }
        }
    }

    /// By name; a name's grammar has ASCII only.
    private var repositories: [String: Actions] = [:]
    /// `registry:catalog:*`
    package private(set) var listsCatalog = false

    /// Nothing but saying who one is.
    init() {}

    /// Parses what a client asks for. Scopes of other kinds, and of names that no repository can have, are left out, as
    /// a token may grant less than was asked for.
    /// - Parameter texts: scopes such as `repository:team/app:pull,push`, each perhaps several with spaces between.
    /// - Returns: nil if there are more than `maximumCount`.
    public init?(parsing texts: [String]) {
        let scopes = texts.flatMap { $0.split(separator: " ") }
        guard scopes.count <= Self.maximumCount else { return nil }
        for scope in scopes {
            guard let first = scope.firstIndex(of: ":"), let last = scope.lastIndex(of: ":"), first < last else {
                continue
            }
            let (kind, name) = (scope[..<first], scope[scope.index(after: first)..<last])
            let actions = scope[scope.index(after: last)...].split(separator: ",")
            if kind == "repository", let name = try? RepositoryName(parsing: name) {
                repositories[name.text, default: []].formUnion(Actions(actions))
            } else if kind == "registry", name == "catalog", actions.contains("*") {
                listsCatalog = true
            }
        }
        repositories = repositories.filter { !$0.value.isEmpty }
    }

    /// The part of this that the policy gives to a client; nothing for nil.
    func granted(to client: Principal?) -> TokenScope {
        var granted = TokenScope()
        guard let client else { return granted }
        for (name, asked) in repositories {
            var allowed: Actions = []
            // An agent reads manifests, though it may not pull.
            if client.holds(.pull, on: name) || client.holds(.cluster) { allowed.insert(.pull) }
            if client.holds(.push, on: name) { allowed.formUnion([.push, .delete]) }
            let both = asked.intersection(allowed)
            if !both.isEmpty { granted.repositories[name] = both }
        }
        granted.listsCatalog = listsCatalog && client.holdsSomewhere(.pull)
        return granted
    }

    /// Whether this has the action that a role stands for. No other role ever comes from a token.
    /// - Parameter deletes: whether a request deletes something, for which either action is good.
    package func allows(_ role: Role, on repository: String, deletes: Bool = false) -> Bool {
        let sufficient: Actions =
            switch role {
            case .pull: .pull
            case .push: deletes ? [.push, .delete] : .push
            case .stage, .cluster, .operator: []
            }
        return !(repositories[repository] ?? []).isDisjoint(with: sufficient)
    }

    /// The same as a client would ask for it.
    public var text: String {
        let scopes = repositories.sorted { $0.key < $1.key }.map {
            "repository:\($0.key):\($0.value.names.joined(separator: ","))"
        }
        return (scopes + (listsCatalog ? ["registry:catalog:*"] : [])).joined(separator: " ")
    }

    /// The claim `access` of a token (distribution's token specification, "Token Authentication Implementation").
    var json: JSONValue {
        var entries = repositories.sorted { $0.key < $1.key }.map {
            Self.entry("repository", $0.key, $0.value.names)
        }
        if listsCatalog { entries.append(Self.entry("registry", "catalog", ["*"])) }
        return .array(entries)
    }

    private static func entry(_ type: String, _ name: String, _ actions: [String]) -> JSONValue {
        ["type": .string(type), "name": .string(name), "actions": .array(actions.map { .string($0) })]
    }

    /// - Returns: nil for what `json` does not write.
    init?(json: JSONValue) {
        guard let entries = json.array else { return nil }
        var texts: [String] = []
        for entry in entries {
            guard let type = entry["type"]?.string, let name = entry["name"]?.string,
                let actions = entry["actions"]?.elements(\.string)
            else { return nil }
            texts.append("\(type):\(name):\(actions.joined(separator: ","))")
        }
        self.init(parsing: texts)
        guard self.json == json else { return nil }
    }
}

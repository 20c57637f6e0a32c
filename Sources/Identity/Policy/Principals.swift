/// A policy's users as requests see them, made once.
struct Principals: Sendable {
    let anonymous: Principal?
    private let named: [String: Principal]

    init(_ policy: Policy) {
        anonymous = policy.anonymousPrincipal
        named = Dictionary(uniqueKeysWithValues: policy.users.keys.map { ($0, policy.principal(of: $0)) })
    }

    /// A user that the policy does not name has no roles but what is everybody's.
    subscript(name: String) -> Principal {
        named[name] ?? anonymous?.named(name) ?? Principal(name: name, roles: [])
    }
}

public import JSON

/// A call of a webhook, for tests.
public struct WebhookCall: Sendable {
    public let webhook: String
    public let operation: String
    public let object: JSONValue
    /// What went wrong; nil for an answer.
    public let failure: String?
    public let reinvocation: Bool
}

/// "Dynamic Admission Control": mutating webhooks, in the order of their names.
extension StandInCluster {
    public var calls: [WebhookCall] { webhookCalls }

    func admit(
        _ object: JSONValue, old: JSONValue?, _ operation: String, _ target: Target, _ options: WriteOptions,
        by user: User
    ) async throws(APIFailure) -> JSONValue {
        // Webhook configurations themselves are never sent to webhooks.
        guard target.type.group != "admissionregistration.k8s.io" else { return object }
        let hooks = (storage.list(.mutatingWebhooks, at: storage.revision) ?? []).flatMap { configuration in
            (configuration.stored.object["webhooks"]?.array ?? []).map { (configuration.key.name, $0) }
        }
        guard !hooks.isEmpty else { return object }
        var object = object
        var lastChange: Int?
        for (index, hook) in hooks.enumerated() {
            let before = object
            object = try await call(hook.1, object, old, operation, target, options, user, isAgain: false)
            if object != before { lastChange = index }
        }
        // "Reinvocation policy": once more if a webhook after it changed the object.
        if let lastChange {
            for hook in hooks[..<lastChange] where hook.1["reinvocationPolicy"]?.string == "IfNeeded" {
                object = try await call(hook.1, object, old, operation, target, options, user, isAgain: true)
            }
        }
        return object
    }

    private func call(
        _ hook: JSONValue, _ object: JSONValue, _ old: JSONValue?, _ operation: String, _ target: Target,
        _ options: WriteOptions, _ user: User, isAgain: Bool
    ) async throws(APIFailure) -> JSONValue {
        let name = hook["name"]?.string ?? ""
        let ignoresFailures = hook["failurePolicy"]?.string == "Ignore"
        guard matches(hook, operation, target, object) else { return object }
        let uid = newUID()
        let kind: JSONValue = [
            "group": .string(target.type.group), "version": .string(target.type.version),
            "kind": .string(target.type.kind),
        ]
        let resource: JSONValue = [
            "group": .string(target.type.group), "version": .string(target.type.version),
            "resource": .string(target.type.plural),
        ]
        var request: JSONValue = [
            "uid": .string(uid), "kind": kind, "resource": resource, "requestKind": kind,
            "requestResource": resource, "name": .string(object.name), "namespace": .string(target.namespace),
            "operation": .string(operation), "userInfo": user.json, "object": object, "oldObject": old ?? .null,
            "dryRun": .bool(options.isDryRun), "options": ["kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"],
        ]
        // A name that is generated is not known to webhooks ("generateName").
        if object.metadata["generateName"] != nil && operation == "CREATE" { request.set("", "name") }
        do throws(APIFailure) {
            guard try conditionsHold(hook, request) else { return object }
        } catch {
            // "matchConditions": an error in one is a failure, unless another is false.
            webhookCalls.append(
                .init(
                    webhook: name, operation: operation, object: object, failure: error.message, reinvocation: isAgain))
            if ignoresFailures { return object }
            throw error
        }
        let review: JSONValue = [
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request,
        ]
        func note(_ failure: String?) {
            if webhookCalls.count < 100_000 {
                webhookCalls.append(
                    .init(
                        webhook: name, operation: operation, object: object, failure: failure, reinvocation: isAgain))
            }
        }
        let seconds = hook["timeoutSeconds"]?.int ?? 10
        let answer: JSONValue
        do {
            let authority = hook.at("clientConfig", "caBundle")?.string.flatMap(Base64.decode)
            let bytes = try await webhooks.call(
                "\(url(of: hook))?timeout=\(seconds)s", authority: authority, body: review.canonicalBytes,
                seconds: seconds)
            answer = try JSONValue(parsing: bytes)
        } catch {
            note("\(error)")
            if ignoresFailures { return object }
            throw .internalError("failed calling webhook \"\(name)\": failed to call webhook: \(error)")
        }
        guard answer["kind"]?.string == "AdmissionReview", answer["apiVersion"]?.string == "admission.k8s.io/v1",
            answer.at("response", "uid")?.string == uid, let isAllowed = answer.at("response", "allowed")?.bool
        else {
            note("no valid AdmissionReview")
            if ignoresFailures { return object }
            throw .internalError("failed calling webhook \"\(name)\": received invalid webhook response")
        }
        note(nil)
        guard isAllowed else {
            let message = answer.at("response", "status", "message")?.string ?? "denied"
            let code = answer.at("response", "status", "code")?.int ?? 403
            throw APIFailure(code, "Forbidden", "admission webhook \"\(name)\" denied the request: \(message)")
        }
        guard let text = answer.at("response", "patch")?.string else { return object }
        // A patch that does not fit is an error whatever the failure policy is.
        guard answer.at("response", "patchType")?.string == "JSONPatch", let bytes = Base64.decode(text),
            let patch = try? JSONValue(parsing: bytes), let patched = try? JSONPatch.apply(patch, to: object)
        else { throw .internalError("webhook \"\(name)\": the patch can't be applied") }
        return patched
    }

    private func url(of hook: JSONValue) -> String {
        let client = hook["clientConfig"] ?? [:]
        if let url = client["url"]?.string { return url }
        let name = client.at("service", "name")?.string ?? ""
        let namespace = client.at("service", "namespace")?.string ?? ""
        let place = services["\(namespace)/\(name)"] ?? "https://\(name).\(namespace).svc:443"
        return place + (client.at("service", "path")?.string ?? "/")
    }

    /// Says where a Service is, as DNS and kube-proxy would: `https://127.0.0.1:8443`. Its certificate has to be for
    /// that host.
    public func place(service: String, namespace: String, at url: String) { services["\(namespace)/\(service)"] = url }

    private func matches(_ hook: JSONValue, _ operation: String, _ target: Target, _ object: JSONValue) -> Bool {
        func has(_ rule: JSONValue, _ list: String, _ value: String) -> Bool {
            let values = rule[list]?.array?.compactMap(\.string) ?? []
            return values.contains(value) || values.contains("*")
        }
        let isMeant = (hook["rules"]?.array ?? []).contains { rule in
            has(rule, "operations", operation) && has(rule, "apiGroups", target.type.group)
                && has(rule, "apiVersions", target.type.version) && has(rule, "resources", target.type.plural)
                && ["*", target.type.isNamespaced ? "Namespaced" : "Cluster"].contains(rule["scope"]?.string ?? "*")
        }
        guard isMeant else { return false }
        if let selector = Selector(hook["namespaceSelector"]), target.type.isNamespaced || target.type == .namespaces {
            let space = target.type == .namespaces ? object : find(.namespaces, "", target.namespace) ?? [:]
            if !selector.matches(labels: space.labels) { return false }
        }
        return Selector(hook["objectSelector"])?.matches(labels: object.labels) ?? true
    }

    /// "Matching requests: matchConditions". A condition that is false settles it, an error only if none is false.
    private func conditionsHold(_ hook: JSONValue, _ request: JSONValue) throws(APIFailure) -> Bool {
        var failure: APIFailure?
        for condition in hook["matchConditions"]?.array ?? [] {
            let text = condition["expression"]?.string ?? ""
            do {
                let variables: [String: CELValue] = [
                    "request": .json(request), "object": .json(request["object"] ?? .null),
                    "oldObject": .json(request["oldObject"] ?? .null),
                ]
                if try !CEL.isTrue(text, variables) { return false }
            } catch {
                failure = .internalError("match condition \"\(condition["name"]?.string ?? "")\": \(error)")
            }
        }
        if let failure { throw failure }
        return true
    }
}

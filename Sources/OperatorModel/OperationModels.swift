package import JSON
package import OCI

/// Long work that a user or a schedule asked for.
package struct Operation: Model {
    package enum State: String, Words {
        /// It waits for its turn.
        case queued
        case running, done, failed
        /// A user asked for the cancellation.
        case cancelled
        /// The server stopped or is gone.
        case interrupted
    }

    package struct Progress: Model {
        package let done: Int64
        /// nil if the total is not known.
        @Nullable package var total: Int64?
        /// The unit of `done` and `total`, such as `bytes`.
        package let unit: String

        package init(done: Int64, total: Int64? = nil, unit: String) {
            (self.done, self.unit) = (done, unit)
            self.total = total
        }
    }

    package struct Failure: Model {
        package let code: String
        package let error: String
        package init(code: String, error: String) { (self.code, self.error) = (code, error) }
    }

    /// What is known so far, and the result at the end.
    package struct Report: Leaf {
        package let json: JSONValue

        package init(json: JSONValue) { self.json = json }
        package static var schema: Schema {
            .either(
                GarbageCollection.schema, Verification.schema, Usage.schema, Delta.schema, Version.schema,
                StagedApp.schema, Schema(["type": "null"]))
        }
        package static var sample: Report { Report(json: .null) }
    }

    package let id: String
    /// `gc`, `verify`, `usage`, `delta`, `import` or `staging`; it tells the form of the report.
    package let kind: String
    /// The user who asked for it; nil for a schedule.
    @Nullable package var by: String?
    /// The request's parameters, for example `stack`.
    package let parameters: [String: String]
    package let state: State
    package let begun: Time
    @Nullable package var ended: Time?
    /// The user who asked for the cancellation.
    @Nullable package var cancelledBy: String?
    @Nullable package var progress: Progress?
    package let report: Report
    @Nullable package var failure: Failure?

    package init(
        id: String, kind: String, by: String?, parameters: [String: String], state: State, begun: Time, ended: Time?,
        cancelledBy: String?, progress: Progress?, report: Report, failure: Failure?
    ) {
        (self.id, self.kind, self.parameters, self.state) = (id, kind, parameters, state)
        (self.begun, self.report) = (begun, report)
        (self.by, self.ended, self.cancelledBy) = (by, ended, cancelledBy)
        (self.progress, self.failure) = (progress, failure)
    }
}

/// What a staging task made.
package struct StagedApp: Model {
    /// Of the droplet's bytes.
    package let droplet: Digest
    /// In bytes.
    package let size: Int64
    package init(droplet: Digest, size: Int64) { (self.droplet, self.size) = (droplet, size) }
}

/// The operations that are kept, the newest first.
package struct Operations: Model {
    package let operations: [Operation]
    package init(operations: [Operation]) { self.operations = operations }
}

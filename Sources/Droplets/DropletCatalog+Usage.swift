public import Blobs
import JSON
import OCI
public import Rootfs

extension DropletCatalog {
    /// Whether an app has a droplet.
    func has(_ guid: DropletGUID, _ sha256: String) async throws(ImageError) -> Bool {
        try await droplets(of: guid).contains { $0.hash == sha256 }
    }

    /// Tells a count what each app's droplets take.
    public func countUsage(_ count: QuotaCount) async throws(ImageError) {
        var after: String?
        var app: (guid: DropletGUID, bytes: Int64)?
        while true {
            if Task.isCancelled { throw .cancelled }
            count.goOn(.droplets)
            let page = try await list(startAfter: after, limit: 100)
            if let last = page.records.last, page.next != nil { count.reached(last.guid.repository, .droplets) }
            for record in page.records {
                if record.guid != app?.guid {
                    if let app { count.add(app.guid.repository, app.bytes) }
                    app = (record.guid, 0)
                }
                app = (record.guid, (app?.bytes ?? 0).clampedAdding(record.logicalBytes))
            }
            guard let next = page.next else { break }
            after = next
        }
        if let app { count.add(app.guid.repository, app.bytes) }
    }
}

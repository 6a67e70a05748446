/* What clients ask about buckets and objects before they begin: answered as by a bucket on which
 * nothing of it is configured. */
#include <string.h>

#include "base/cleanup.h"
#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/ops.h"
#include "gateway/request.h"
#include "wire/xml.h"

#define NOT_CONFIGURED 404

/* Either an S3 error, or a document: its root and what is in it. */
static const struct {
    const char *resource;
    const char *error;
    const char *text; /* the error's message, or the root element */
    const char *inner;
} probes[] = {
    {"location", NULL, "LocationConstraint", ""},
    {"versioning", NULL, "VersioningConfiguration", ""},
    {"logging", NULL, "BucketLoggingStatus", ""},
    {"notification", NULL, "NotificationConfiguration", ""},
    {"accelerate", NULL, "AccelerateConfiguration", ""},
    {"requestPayment", NULL, "RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"},
    {"policy", "NoSuchBucketPolicy", "The bucket policy does not exist", NULL},
    {"policyStatus", "NoSuchBucketPolicy", "The bucket policy does not exist", NULL},
    {"lifecycle", "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist",
     NULL},
    {"cors", "NoSuchCORSConfiguration", "The CORS configuration does not exist", NULL},
    {"website", "NoSuchWebsiteConfiguration",
     "The specified bucket does not have a website configuration", NULL},
    {"encryption", "ServerSideEncryptionConfigurationNotFoundError",
     "The server side encryption configuration was not found", NULL},
    {"replication", "ReplicationConfigurationNotFoundError",
     "The replication configuration was not found", NULL},
    {"object-lock", "ObjectLockConfigurationNotFoundError",
     "Object Lock configuration does not exist for this bucket", NULL},
    {"publicAccessBlock", "NoSuchPublicAccessBlockConfiguration",
     "The public access block configuration was not found", NULL},
    {"ownershipControls", "OwnershipControlsNotFoundError",
     "The bucket ownership controls were not found", NULL},
    {"retention", "NoSuchObjectLockConfiguration",
     "The specified object does not have an ObjectLock configuration", NULL},
    {"legal-hold", "NoSuchObjectLockConfiguration",
     "The specified object does not have an ObjectLock configuration", NULL},
};

static void print_owner(struct buf *xml, const char *owner) {
    xml_string(xml, "ID", owner);
    xml_string(xml, "DisplayName", owner);
}

static int reply_acl(struct request *request) {
    const char *owner = request->gateway->options.access_key;
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    xml_begin(&xml);
    xml_open_root(&xml, "AccessControlPolicy");
    xml_open(&xml, "Owner");
    print_owner(&xml, owner);
    xml_close(&xml, "Owner");
    xml_open(&xml, "AccessControlList");
    xml_open(&xml, "Grant");
    buf_puts(&xml, "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
                   "xsi:type=\"CanonicalUser\">");
    print_owner(&xml, owner);
    xml_close(&xml, "Grantee");
    xml_string(&xml, "Permission", "FULL_CONTROL");
    xml_close(&xml, "Grant");
    xml_close(&xml, "AccessControlList");
    xml_close(&xml, "AccessControlPolicy");
    return reply_xml(request, &xml);
}

static int reply_tagging(struct request *request) {
    if (request->key[0] == '\0')
        return reply_error_as(request, NOT_CONFIGURED, "NoSuchTagSet", "The TagSet does not exist");
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    xml_begin(&xml);
    xml_open_root(&xml, "Tagging");
    buf_puts(&xml, "<TagSet></TagSet>");
    xml_close(&xml, "Tagging");
    return reply_xml(request, &xml);
}

static int reply_row(struct request *request, size_t row) {
    if (probes[row].error != NULL)
        return reply_error_as(request, NOT_CONFIGURED, probes[row].error, probes[row].text);
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    xml_begin(&xml);
    xml_open_root(&xml, probes[row].text);
    buf_puts(&xml, probes[row].inner);
    xml_close(&xml, probes[row].text);
    return reply_xml(request, &xml);
}

/* Whether what is asked about exists at all. */
static int find_subject(struct request *request) {
    Pb__Bucket *bucket;
    Pb__Object *object;
    return request->key[0] != '\0'
               ? catalogue_object(request, request->bucket, request->key, &object)
               : catalogue_bucket(request, request->bucket, &bucket);
}

int probe(struct request *request) {
    int rc = find_subject(request);
    if (rc != 0)
        return rc;
    if (uri_has(&request->uri, "acl"))
        return reply_acl(request);
    if (uri_has(&request->uri, "tagging"))
        return reply_tagging(request);
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++)
        if (uri_has(&request->uri, probes[i].resource))
            return reply_row(request, i);
    return err_set(&request->err, ERR_NOT_IMPLEMENTED, "%s", err_text(ERR_NOT_IMPLEMENTED));
}

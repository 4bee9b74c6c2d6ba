-- The sandbox that this one is linked to. No reference: a link may outlive its end by the moment that ends this one, too.
ALTER TABLE sandboxes ADD COLUMN linked_to TEXT;
CREATE INDEX sandboxes_linked_to ON sandboxes (linked_to) WHERE linked_to IS NOT NULL;

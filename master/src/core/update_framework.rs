//! The UPDATE_FRAMEWORK call.

use std::sync::Arc;

use mesos::ids::FrameworkId;
use mesos::proto::scheduler::call;

use super::Master;
use super::effects::Effects;
use super::validation;

impl Master {
    /// A scheduler changes its description, suppressed roles and offer constraints.
    ///
    /// # Errors
    /// A text for the scheduler when the change is not allowed; nothing has changed then.
    pub fn on_update_framework(
        &mut self,
        id: &FrameworkId,
        update: call::UpdateFramework,
        fx: &mut dyn Effects,
    ) -> Result<(), String> {
        let Some(framework) = self.framework(id) else {
            return Err(format!("Framework {id} is not known"));
        };
        validation::framework::validate(
            &update.framework_info,
            &update.suppressed_roles,
            update.offer_constraints.as_ref(),
            &self.config,
        )?;
        validation::framework::validate_immutable_fields(&framework.info, &update.framework_info)?;
        let changed = *framework.info != update.framework_info;
        self.replace_framework_info(
            id,
            update.framework_info,
            update.suppressed_roles.into_iter().collect(),
            update.offer_constraints.map(Arc::new),
            fx,
        );
        if changed {
            self.announce_framework(id, fx);
        }
        Ok(())
    }
}

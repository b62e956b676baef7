mod forms;
mod writing;
